"""NeAT in plain layers, as somebody would write it who has the paper and the public codes that it refers to.

PAMA's blocks, ARF's recolouring, a bilateral filter that goes through its disc, and Swapping Autoencoder's patch
discriminators; styles and contents twice in a batch, as in ContraAST's code.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.contenders import internal_external
from benchmarks.contenders.internal_external import (
    Losses,
    Maps,
    PlainPainter,
    Seen,
    gather_by_resemblance,
    norm,
    values,
)
from benchmarks.contenders.neat_patches import Groups, PlainJudge, cut
from lightning_modules.losses.shared_attribute import Crops, shared_attribute_loss
from lightning_modules.neat import NeAT
from lightning_modules.neat.networks import PAMABlock, SpaceAwareInterpolation
from lightning_modules.neat.prior import PriorSettings
from lightning_modules.neat.windows import draw_windows
from lightning_modules.types import StyleBatch

LEVEL = 3
"""relu4_1, where all blocks stand."""


class PatchStep(internal_external.Step):
    """One iteration, which ends with the step of the patch discriminators; the n-th draws the n-th windows."""

    model: NeAT

    def __init__(self, model: NeAT) -> None:
        super().__init__(model)
        assert model.patches is not None  # noqa: S101
        self.patches = model.patches
        self.patch_optimizer = torch.optim.Adam(self.patches.parameters(), lr=1.88e-3, betas=(0.0, 0.9906))
        self.iteration = 0

    def begin(self) -> None:
        """Count, and settle what is drawn; what the generator's loss leaves at the patch discriminators is not kept."""
        self.model.iteration = self.iteration
        torch.manual_seed(self.iteration)
        self.iteration += 1
        self.patches.requires_grad_(False)

    def train_patches(self, loss: Tensor) -> None:
        """Take their step."""
        self.patch_optimizer.zero_grad()
        loss.backward()
        self.patch_optimizer.step()


class Fast(PatchStep, internal_external.Fast):
    """The step of `NeAT`, without Lightning around it."""

    def __call__(self, batch: StyleBatch) -> Losses:
        """Run it, and return the losses."""
        self.begin()
        losses = super().__call__(batch)
        self.patches.requires_grad_(True)
        (critic,) = self.model.critics()
        loss = critic.loss()
        self.train_patches(loss)
        return losses | values({critic.name: loss})


class Literal(PatchStep, internal_external.Literal):
    """Everything on the batch that holds each input twice, and windows one by one."""

    def __init__(self, model: NeAT) -> None:
        super().__init__(model)
        self.plain = PlainNeAT(model)
        self.judges = {name: PlainJudge(judge) for name, judge in self.patches.discriminators.items()}
        self.shown: tuple[Groups, Groups, Groups] | None = None

    def __call__(self, batch: StyleBatch) -> Losses:
        """Run it, and return the losses."""
        self.begin()
        return super().__call__(batch)

    def style_contrast(self, batch: StyleBatch, maps: Tensor, styles: Tensor, contents: Tensor) -> Tensor:
        """Return eq. 5 with crops of the styles."""
        assert batch.views is not None  # noqa: S101
        count = batch.views.shape[1]
        whose = torch.arange(len(batch.style), device=maps.device).repeat_interleave(count)
        crops = Crops(self.model.style_head(self.plain.encode(batch.views.flatten(0, 1), 3)[2]), whose)
        return shared_attribute_loss(self.model.style_head(maps), styles, contents, crops=crops)

    def further_terms(self, content: Tensor, style: Tensor, stylized: Tensor) -> dict[str, Tensor]:
        """Return eq. 7 of both discriminators."""
        settings, twice = self.patches.settings, torch.arange(len(style) // 2, device=style.device).repeat(2)
        places = [
            draw_windows(count, settings.windows, settings.scales, style.device)
            for count in (len(stylized), len(style) // 2, len(style) // 2)
        ]
        fake = cut(stylized, content, places[0], settings)
        reference, real = (cut(style, style, windows[twice], settings) for windows in places[1:])
        self.shown = fake, reference, real
        terms = {}
        for name, judge in self.judges.items():
            known = judge.features(reference[name]).mean(1).detach()
            terms[name] = F.softplus(-judge.score(known, judge.features(fake[name]))).mean()
        return terms

    def train_critics(self) -> dict[str, Tensor]:
        """Take the step of both discriminators."""
        self.patches.requires_grad_(True)
        loss = torch.stack([self._own_loss(name, judge) for name, judge in self.judges.items()]).sum()
        self.train_patches(loss)
        return {"patches": loss}

    def _own_loss(self, name: str, judge: PlainJudge) -> Tensor:
        assert self.shown is not None  # noqa: S101
        fake, reference, real = (groups[name].detach() for groups in self.shown)
        known = judge.features(reference).mean(1)
        loss = F.softplus(-judge.score(known, judge.features(real))).mean()
        loss = loss + F.softplus(judge.score(known, judge.features(fake))).mean()
        settings = self.patches.settings
        if self.model.iteration % settings.r1_every:
            return loss
        reference.requires_grad_()
        real.requires_grad_()
        said = judge.score(judge.features(reference).mean(1), judge.features(real)).sum()
        slopes = torch.autograd.grad(said, [reference, real], create_graph=True)
        squares = [slope.square().sum((1, 2, 3, 4)).mean() for slope in slopes]
        return loss + settings.r1_every * settings.r1 / 4 * torch.stack(squares).sum()


class PlainNeAT(PlainPainter):
    """PAMA's blocks on relu4_1, and the prior under the picture.

    Args:
        model: Whose convolutions and settings are used.
    """

    def __init__(self, model: NeAT) -> None:
        super().__init__(model)
        self.blocks = model.generator.transform.blocks
        self.settings, self.weight = model.prior, model.prior_weight

    def transform(self, content: Maps, style: Maps) -> Tensor:
        """Run block after block."""
        maps = content[LEVEL]
        for block in self.blocks:
            maps = pama(block, maps, style[LEVEL])  # type: ignore[arg-type]
        return maps

    def paint(self, content: Seen, style: Seen) -> Tensor:
        """Add the prior to what is decoded."""
        return super().paint(content, style) + self.weight * prior(content.pictures, style.pictures, self.settings)


def pama(block: PAMABlock, content: Tensor, style: Tensor) -> Tensor:
    """Run one of PAMA's blocks as its public code does."""
    content, style = (F.relu6(_reflected(block.conv_in.convolution, maps)) for maps in (content, style))
    query, key = F.relu6(block.query(norm(content))), F.relu6(block.key(norm(style)))
    gathered = gather_by_resemblance(query, key, F.relu6(block.value(style)))
    aligned = F.relu6(_reflected(block.conv_out.convolution, F.relu6(block.out(gathered))))
    return _fused(block.fusion, content, aligned)


def _fused(fusion: SpaceAwareInterpolation, content: Tensor, style: Tensor) -> Tensor:
    joint = fusion.joint(torch.cat([content, style], 1))
    masks = [_reflected(window, joint).sigmoid() for window in fusion.windows]  # type: ignore[arg-type]
    mask = sum(masks) / len(masks)
    return mask * fusion.content(content) + (1 - mask) * fusion.style(style)


def _reflected(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    reach = convolution.kernel_size[0] // 2
    mapped: Tensor = convolution(F.pad(maps, (reach,) * 4, mode="reflect"))
    return mapped


@torch.no_grad()
def prior(content: Tensor, style: Tensor, settings: PriorSettings) -> Tensor:
    """Recolour, blur and filter contents ``(B, 3, H, W)``."""
    return _bilateral(_gaussian(_recoloured(content, style), settings), settings)


def _recoloured(content: Tensor, style: Tensor) -> Tensor:
    pixels, goal = content.flatten(2), style.flatten(2)
    means = [part.mean(2, keepdim=True) for part in (pixels, goal)]
    centred = pixels - means[0], goal - means[1]
    roots = []
    for part, power in zip(centred, (-0.5, 0.5), strict=True):
        u, s, v = torch.linalg.svd(part @ part.transpose(1, 2) / part.shape[2])
        roots.append(u @ torch.diag_embed(s.clamp(1e-8, 1e8) ** power) @ v)
    return (roots[1] @ roots[0] @ centred[0] + means[1]).clamp(0, 1).view_as(content)


def _gaussian(images: Tensor, settings: PriorSettings) -> Tensor:
    reach = settings.gaussian // 2
    sigma = settings.gaussian_sigma or 0.3 * (reach - 1) + 0.8
    places = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    taps = (-places.square() / (2 * sigma**2)).exp()
    kernel = (taps.outer(taps) / taps.sum() ** 2).expand(3, 1, -1, -1)
    return F.conv2d(F.pad(images, (reach,) * 4, mode="reflect"), kernel, groups=3)


def _bilateral(images: Tensor, settings: PriorSettings) -> Tensor:
    """Go through the disc, without the memory of an unfolded picture."""
    reach, (height, width) = settings.bilateral // 2, images.shape[-2:]
    padded = F.pad(images, (reach,) * 4, mode="reflect")
    total, weights = torch.zeros_like(images), torch.zeros_like(images[:, :1])
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            square = down**2 + right**2
            if square > reach**2:
                continue
            seen = padded[..., reach + down : reach + down + height, reach + right : reach + right + width]
            unlike = (seen - images).abs().sum(1, keepdim=True) * (255 / settings.sigma_color)
            weight = math.exp(-square / (2 * settings.sigma_space**2)) * (-unlike.square() / 2).exp()
            total += weight * seen
            weights += weight
    return total / weights
