"""An iteration of LEAST as the public notebook computes it: one patch after the other, in plain layers."""

from collections.abc import Sequence
from copy import deepcopy

import lightning_modules  # noqa: F401  (installs the torchvision shim)

# isort: split
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import functional as TF

from lightning_modules.least.fitting import Fitting
from lightning_modules.least.jobs import Jobs
from lightning_modules.least.networks import StyleUNet
from lightning_modules.least.patches import Draw
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.networks.vgg import VGGTrunk


class Block(nn.Module):
    """Two convolutions with norms and rectifiers, and one of a single pixel beside them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 1, 1),
            nn.InstanceNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1),
            nn.InstanceNorm2d(outputs),
            nn.ReLU(),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both."""
        out: Tensor = self.main(x) + self.skip(x)
        return out


class PlainUNet(nn.Module):
    """The style network of one job, stage by stage.

    Args:
        network: Whose first job's weights are copied.
    """

    def __init__(self, network: StyleUNet) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 1)
        self.entry = Block(16, 16)
        self.down1, self.halve1 = Block(16, 16), nn.Conv2d(16, 16, 4, 2, 1)
        self.down2, self.halve2 = Block(16, 32), nn.Conv2d(32, 32, 4, 2, 1)
        self.down3, self.halve3 = Block(32, 64), nn.Conv2d(64, 64, 4, 2, 1)
        self.middle = Block(64, 128)
        self.up3, self.up2, self.up1 = Block(192, 64), Block(96, 32), Block(48, 16)
        self.exit = Block(32, 16)
        self.last = nn.Conv2d(16, 3, 1)
        ours = {"first": self.first, "entry": self.entry, "middle": self.middle, "exit": self.exit, "last": self.last}
        for number in range(3):
            for name, mine in (("down", "down"), ("halve", "halve"), ("up", "up")):
                ours[f"{name}.{number}"] = getattr(self, f"{mine}{number + 1}")
        for name, module in ours.items():
            self._copy(network.get_submodule(name), module)

    @staticmethod
    @torch.no_grad()
    def _copy(source: nn.Module, target: nn.Module) -> None:
        if isinstance(target, nn.Conv2d):
            pairs = [(source, target)]
        else:
            convs = [module for module in target.modules() if isinstance(module, nn.Conv2d)]
            pairs = [
                (source.get_submodule(name), conv)
                for name, conv in zip(("first", "second", "beside"), convs, strict=True)
            ]
        for ours, theirs in pairs:
            for kind in ("weight", "bias"):
                getattr(theirs, kind).copy_(getattr(ours, kind)[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the painted canvas in [0, 1]."""
        x0 = self.entry(self.first(x))
        f1 = self.down1(x0)
        f2 = self.down2(self.halve1(f1))
        f3 = self.down3(self.halve2(f2))
        x = self.middle(self.halve3(f3))
        x = self.up3(torch.cat([_doubled(x), f3], 1))
        x = self.up2(torch.cat([_doubled(x), f2], 1))
        x = self.up1(torch.cat([_doubled(x), f1], 1))
        return torch.sigmoid(self.last(self.exit(torch.cat([x, x0], 1))))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class PlainVGG(nn.Module):
    """The VGG as torchvision builds it: layer after layer in the usual layout, to its end, whatever is asked for.

    Args:
        trunk: Whose weights are copied.
    """

    def __init__(self, trunk: VGGTrunk) -> None:
        super().__init__()
        self.trunk = deepcopy(trunk)
        for conv in self.trunk.convs.parameters():
            conv.data = conv.data.contiguous()
            conv.requires_grad_(False)

    def forward(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the maps of layers."""
        x, maps = (images - self.trunk.mean) / self.trunk.std, {}
        for name, conv in self.trunk.convs.items():
            x = F.max_pool2d(x, 2) if name.endswith("_1") and name != "1_1" else x
            maps[f"conv{name}"] = x = conv(x)
            maps[f"relu{name}"] = x = F.relu(x, inplace=f"conv{name}" not in layers)
        return {layer: maps[layer] for layer in layers}


class PlainCLIP(nn.Module):
    """CLIP's picture tower as open_clip builds it, in the usual layout.

    Args:
        encoder: Whose weights are copied.
    """

    def __init__(self, encoder: CLIPEncoder) -> None:
        super().__init__()
        from open_clip.transformer import ResidualAttentionBlock

        self.side, self.mean, self.std = encoder.image_size, encoder.mean, encoder.std
        self.tower = deepcopy(encoder.model.visual)
        blocks = self.tower.transformer.resblocks
        for number, block in enumerate(blocks):
            width, heads, expand = block.attn.embed_dim, block.attn.num_heads, block.mlp.c_fc
            whole = ResidualAttentionBlock(width, heads, expand.out_features / width, act_layer=type(block.mlp.gelu))
            whole.load_state_dict(block.state_dict())
            blocks[number] = whole.to(expand.weight).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Resize as the notebook does, and return vectors of length 1."""
        if images.shape[-1] != self.side:
            images = F.interpolate(images, (self.side,) * 2, mode="bicubic")
        return _unit(self.tower((images - self.mean) / self.std))


class Literal:
    """The notebook's iteration, of one job whose canvas is the notebook's: the whole picture.

    Args:
        fitting: Whose numbers are used, and the weights of whose frozen networks.
        network: Whose first job's weights the network begins with.
        jobs: The job, of which nothing is used that CLIP or VGG made of pictures.
        wasteful: Whether it also does what the notebook does for nothing: gradients of CLIP's weights, two more passes
            through VGG and one through CLIP.
    """

    def __init__(self, fitting: Fitting, network: StyleUNet, jobs: Jobs, *, wasteful: bool = True) -> None:
        self.plan, self.wasteful = fitting.plan, wasteful
        self.clip, self.vgg = PlainCLIP(fitting.lens.clip), PlainVGG(fitting.lens.vgg.trunk)
        self.clip.requires_grad_(wasteful)
        self.network = PlainUNet(network).to(next(network.parameters()))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=5e-4)
        self.jobs, seen, mask = jobs, jobs.seen[:1], jobs.mask[:1]
        with torch.no_grad():
            self.whole, self.masked = self.clip(seen), self.clip(seen * mask)
            self.box_mask, target = self._crop(mask), self._crop(seen)
            self.wanted = self.vgg(target, self.plan.structure.layers)
        self.words = _unit(_unit(jobs.words[:1]) - _unit(jobs.plain))

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """Run it, and return the losses."""
        terms = self.terms(draws[0])
        self.optimizer.zero_grad()
        torch.stack([getattr(self.plan.loss, name) * term for name, term in terms.items()]).sum().backward()
        self.optimizer.step()
        return terms

    def terms(self, drawn: Draw) -> dict[str, Tensor]:
        """Return the unweighted losses of job 0."""
        painted = self.network(self.jobs.seen[:1])
        region = painted * self.jobs.mask[:1]
        content = self._content(painted, region)
        return {
            "patch": self._patches(painted, drawn),
            "direction": 1 - _cosine(self.clip(region) - self.masked, self.words)[0],
            "content": content,
            "tv": _variation(region),
        }

    def _crop(self, picture: Tensor) -> Tensor:
        top, left, bottom, right = self.jobs.boxes[0]
        return TF.resize(picture[:1, :, top:bottom, left:right], [self.plan.structure.size] * 2, antialias=True)

    def _patches(self, painted: Tensor, drawn: Draw) -> Tensor:
        jobs, patches, whole = self.jobs, self.plan.patches, self.whole
        shown = painted * jobs.mask[:1] + jobs.content[:1] * (1 - jobs.mask[:1]) if patches.composite else painted

        def square(picture: Tensor, number: int) -> Tensor:
            top, left = drawn.corners[number].tolist()
            crop = TF.crop(picture, top, left, drawn.side, drawn.side)
            last = drawn.side - 1
            starts = [[0, 0], [last, 0], [last, last], [0, last]]
            fill = [0.0, 0.0, 0.0] if patches.darken_twice else None
            if patches.distortion:
                crop = TF.perspective(crop, starts, drawn.ends[number].tolist(), fill=fill)
            return TF.resize(crop, [self.clip.side] * 2, antialias=True)

        numbers = range(patches.count)
        vectors = self.clip(torch.cat([square(shown, number) for number in numbers]))
        if patches.source == "content_patch":
            with torch.no_grad():
                whole = self.clip(torch.cat([square(jobs.seen[:1], number) for number in numbers]))
        losses = 1 - _cosine(vectors - whole, self.words)
        losses[losses < patches.threshold] = 0
        return losses.sum() if patches.reduction == "sum" else losses.mean()

    def _content(self, painted: Tensor, region: Tensor) -> Tensor:
        structure, crop = self.plan.structure, self._crop(painted)
        maps = self.vgg(crop, structure.layers)
        if self.wasteful:
            for picture in (painted, region):
                self.vgg(picture, ())
            self.clip(crop)
        terms = []
        for layer in structure.layers:
            squares = (maps[layer] - self.wanted[layer]) ** 2
            weight = torch.ones_like(squares)
            if structure.masked:
                weight = F.adaptive_avg_pool2d(self.box_mask, squares.shape[-2:]).expand_as(squares)
            if structure.distance == "norm":
                terms.append((squares * weight).sum().sqrt())
            else:
                terms.append((squares * weight).sum() / weight.sum())
        return torch.stack(terms).sum()


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _cosine(steps: Tensor, words: Tensor) -> Tensor:
    return (_unit(steps) * words).sum(-1)


def _variation(x: Tensor) -> Tensor:
    return (
        torch.norm(x[:, :, :, 1:] - x[:, :, :, :-1])
        + torch.norm(x[:, :, 1:, :] - x[:, :, :-1, :])
        + torch.norm(x[:, :, 1:, 1:] - x[:, :, :-1, :-1])
        + torch.norm(x[:, :, 1:, :-1] - x[:, :, :-1, 1:])
    )
