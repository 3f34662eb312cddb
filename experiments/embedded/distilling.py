"""What the slim encoder takes from the full-size VGG-16 of `hed`, and the closed form that it starts from.

For every layer the teacher's most independent channels are chosen (pivoted QR); each student layer is fitted to them by
ridge regression on what the student's layers below really produce. Beside them stand channels that carry the picture.
The fourth convolutions of blocks 3 to 5, which a VGG-16 lacks, start as the identity.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from scipy.linalg import qr
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk
from lightning_modules.weights import load_vgg

WIDTHS = (16, 32, 64, 128, 128)
CARRIERS = (4, 8, 16, 32, 0)  # channels of each block that carry the picture; what lies above block 4 is texture alone
_PATCH = (1, 1, 2, 2, 1)  # side of the pixel patch that they start as, in pixels of the half as fine grid
_LOUD = 5.0  # times the brightness in [0, 1]: a style loss then hears tone and colour beside the textures
_SAMPLES = 30_000  # positions that a closed-form fit looks at


class Teacher:
    """The VGG-16 of `hed`, and its channels that the student learns.

    Every layer is divided by the mean activation of its chosen channels, so that the student's weights are of one size.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1], to choose the channels on.

    Attributes:
        chosen: The channels of every layer, ``"1_1"`` and so on.
    """

    def __init__(self, images: Tensor) -> None:
        self.encoder = _reflecting(load_vgg("hed"))
        self.layers = [layer for layer in self.encoder.channels if layer.startswith("relu")]
        maps = self._look(images[:48], self.layers)
        self.chosen = {layer[4:]: _independent(maps[layer], layer) for layer in self.layers}
        kept = {layer: maps[layer][:, self.chosen[layer[4:]]] for layer in self.layers}
        self.level = {layer[4:]: float(value.mean()) for layer, value in kept.items()}
        self.spread = {
            layer[4:]: (value / self.level[layer[4:]]).var((0, 2, 3), keepdim=True).clamp_min(1e-3)
            for layer, value in kept.items()
        }

    def before_rectifiers(self, images: Tensor) -> dict[str, Tensor]:
        """Return the chosen channels of every convolution."""
        maps = self._look(images, [f"conv{name}" for name in self.chosen])
        return {name: maps[f"conv{name}"][:, pick] / self.level[name] for name, pick in self.chosen.items()}

    def unexplained(self, images: Tensor, maps: dict[str, Tensor]) -> Tensor:
        """Return for each layer the share of the chosen channels' variance that the student's first channels miss."""
        wanted = self._look(images, self.layers)
        shares = []
        for name, pick in self.chosen.items():
            error = maps[f"relu{name}"][:, : len(pick)] - wanted[f"relu{name}"][:, pick] / self.level[name]
            shares.append((error.square() / self.spread[name]).mean())
        return torch.stack(shares)

    @torch.no_grad()
    def _look(self, images: Tensor, layers: list[str]) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):  # three times as fast where the processor multiplies in it
            return {layer: maps.float() for layer, maps in self.encoder(images, layers).items()}


def _reflecting(encoder: VGGEncoder) -> VGGEncoder:
    """Return an encoder that continues pictures as the student does: zeros reach far into the maps of small crops."""
    trunk = VGGTrunk(replace(encoder.trunk.config, padding="reflect"))
    trunk.load_state_dict(encoder.trunk.state_dict())
    return VGGEncoder(trunk, encoder.source)


def _independent(maps: Tensor, layer: str) -> Tensor:
    """Return the channels that a slim layer keeps.

    Pivoted QR takes the channel that is worst explained by those already taken, again and again. Channels are first
    divided by the root of their magnitude: loud ones count more, but not all.
    """
    block = int(layer[4]) - 1
    columns = maps.permute(0, 2, 3, 1).flatten(0, 2)  # positions, C
    columns = columns[:: max(1, len(columns) // 8000)]
    columns = columns / columns.square().mean(0).clamp_min(1e-6) ** 0.25
    _, order = qr(columns.numpy(), mode="r", pivoting=True)
    return torch.from_numpy(order[: WIDTHS[block] - CARRIERS[block]].copy()).long()


@torch.no_grad()
def start(teacher: Teacher, images: Tensor, generator: torch.Generator) -> VGGTrunk:
    """Return a student whose every layer is the ridge regression of its goals on its own input.

    The goals are the teacher's chosen channels, then the pixels; what channels are left start at random.
    """
    trunk = VGGTrunk(VGGConfig(widths=WIDTHS, padding="reflect", pooling="mean"))
    wanted = teacher.before_rectifiers(images)
    x = images.sub(trunk.mean).div(trunk.std)
    for name, conv in convolutions(trunk):
        if name.endswith("_1") and name != "1_1":
            x = F.avg_pool2d(x, 2)
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        if name in wanted:
            goals = torch.cat([wanted[name], _pixels(images, int(name[0]) - 1)], 1)
            _fit(conv, padded, goals, generator)
        else:
            nn.init.dirac_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        x = F.relu(conv(padded))
    return trunk


def _pixels(images: Tensor, block: int) -> Tensor:
    """Return the picture on the grid of a block, ``(B, 3 side^2, H, W)``; nothing where no channel carries it."""
    side = _PATCH[block]
    pixels = F.pixel_unshuffle(F.avg_pool2d(images, 2**block // side), side)
    return _LOUD * pixels[:, : CARRIERS[block]]


def _fit(conv: nn.Conv2d, padded: Tensor, goals: Tensor, generator: torch.Generator) -> None:
    """Fit the first channels to the goals and draw the others, at a mean activation of one."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    loudness = F.relu(conv(padded)).mean((0, 2, 3)).clamp_min(1e-3)
    conv.weight.div_(loudness.view(-1, 1, 1, 1))
    weight, bias = _ridge(padded, goals, generator)
    conv.weight[: len(weight)] = weight
    conv.bias[: len(weight)] = bias  # type: ignore[index]


def _ridge(padded: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    each = max(1, _SAMPLES // len(padded))
    rows, answers = [], []
    for picture, answer in zip(padded, target, strict=True):
        at = torch.randperm(answer[0].numel(), generator=generator)[:each]
        rows.append(F.unfold(picture[None], 3)[0].T[at])  # positions, 9 C
        answers.append(answer.flatten(1).T[at])
    x, y = torch.cat(rows).double(), torch.cat(answers).double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    gram = (x - x_mean).T @ (x - x_mean)
    gram += 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solution = torch.linalg.solve(gram, (x - x_mean).T @ (y - y_mean))  # 9 C, width
    weight = solution.T.reshape(target.shape[1], padded.shape[1], 3, 3).float()
    return weight, (y_mean - x_mean @ solution).float()


def convolutions(trunk: VGGTrunk) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield the name and the convolution of every layer."""
    for name, conv in trunk.convs.items():
        assert isinstance(conv, nn.Conv2d)  # noqa: S101 - for the type checker
        yield name, conv
