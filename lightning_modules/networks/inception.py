"""Inception-v3 with taps, in the two forms that metrics use: torchvision's and the port of TensorFlow's 2015 file."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.frozen import FrozenNetwork

TAPS = {"conv2d_2b": 64, "conv2d_4a": 192, "pool3": 2048}
"""Every tap and its channels."""
SMALLEST = {"conv2d_2b": 7, "conv2d_4a": 19, "pool3": 75}
"""Sides in pixels below which a tap is empty."""
InceptionForm = Literal["torchvision", "tensorflow"]
Size = int | tuple[int, int]


class Conv(NamedTuple):
    """A convolution by name: output channels, kernel (height and width), stride; padded unless the stride is 2."""

    name: str
    width: int
    kernel: Size = 1
    stride: int = 1


class _Unit(nn.Module):
    def __init__(self, inputs: int, conv: Conv, padding: Size | None = None) -> None:
        super().__init__()
        kernel = (conv.kernel, conv.kernel) if isinstance(conv.kernel, int) else conv.kernel
        same = (kernel[0] // 2, kernel[1] // 2) if conv.stride == 1 else 0
        padding = same if padding is None else padding
        self.conv = nn.Conv2d(inputs, conv.width, kernel, conv.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(conv.width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


Pool = Literal["average", "average_inside", "max", "max_halving"]
Branch = tuple[Conv | tuple[Conv, Conv], ...]


def _pool(x: Tensor, kind: Pool) -> Tensor:
    if kind == "max_halving":
        return F.max_pool2d(x, 3, stride=2)
    if kind == "max":
        return F.max_pool2d(x, 3, stride=1, padding=1)
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=kind == "average")


class _Mixed(nn.Module):
    """Branches side by side; the last, which starts with a pool, may have no convolution."""

    def __init__(self, inputs: int, branches: Sequence[Branch], pool: Pool) -> None:
        super().__init__()
        self.branches = [[_names(step) for step in branch] for branch in branches]
        self.pool: Pool = pool
        self.width = inputs if pool == "max_halving" else 0
        for branch in branches:
            width = inputs
            for step in branch:
                convs = (step,) if isinstance(step, Conv) else step
                for conv in convs:
                    self.add_module(conv.name, _Unit(width, conv))
                width = sum(conv.width for conv in convs)
            self.width += width

    def forward(self, x: Tensor) -> Tensor:
        ends = []
        for branch in self.branches:
            y = _pool(x, self.pool) if branch[0] == ["branch_pool"] else x
            for names in branch:
                y = torch.cat([self.get_submodule(name)(y) for name in names], dim=1)
            ends.append(y)
        if self.pool == "max_halving":
            ends.append(_pool(x, self.pool))
        return torch.cat(ends, dim=1)


def _names(step: Conv | tuple[Conv, Conv]) -> list[str]:
    return [step.name] if isinstance(step, Conv) else [conv.name for conv in step]


def _mixed_a(pool_width: int) -> list[Branch]:
    return [
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5)),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3)),
        (Conv("branch_pool", pool_width),),
    ]


def _mixed_b() -> list[Branch]:
    return [
        (Conv("branch3x3", 384, 3, 2),),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3, 2)),
    ]


def _mixed_c(width: int) -> list[Branch]:
    return [
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", width), Conv("branch7x7_2", width, (1, 7)), Conv("branch7x7_3", 192, (7, 1))),
        (
            Conv("branch7x7dbl_1", width),
            Conv("branch7x7dbl_2", width, (7, 1)),
            Conv("branch7x7dbl_3", width, (1, 7)),
            Conv("branch7x7dbl_4", width, (7, 1)),
            Conv("branch7x7dbl_5", 192, (1, 7)),
        ),
        (Conv("branch_pool", 192),),
    ]


def _mixed_d() -> list[Branch]:
    return [
        (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, 2)),
        (
            Conv("branch7x7x3_1", 192),
            Conv("branch7x7x3_2", 192, (1, 7)),
            Conv("branch7x7x3_3", 192, (7, 1)),
            Conv("branch7x7x3_4", 192, 3, 2),
        ),
    ]


def _mixed_e() -> list[Branch]:
    return [
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), (Conv("branch3x3_2a", 384, (1, 3)), Conv("branch3x3_2b", 384, (3, 1)))),
        (
            Conv("branch3x3dbl_1", 448),
            Conv("branch3x3dbl_2", 384, 3),
            (Conv("branch3x3dbl_3a", 384, (1, 3)), Conv("branch3x3dbl_3b", 384, (3, 1))),
        ),
        (Conv("branch_pool", 192),),
    ]


class InceptionTrunk(nn.Module):
    """Inception-v3 up to its last pooling; the names are those of torchvision's state files.

    Args:
        form: ``tensorflow`` is the graph of 2015 behind the published FID: averages in the pool branches leave the
            padding out, and the last of them takes the maximum.

    Source: Szegedy et al. 2016, table 1; torchvision ``models/inception.py``; for the other form pytorch-fid
    ``inception.py``, which says where the two differ.
    """

    def __init__(self, form: InceptionForm = "torchvision") -> None:
        super().__init__()
        self.form = form
        stem = [Conv("1a_3x3", 32, 3, 2), Conv("2a_3x3", 32, 3), Conv("2b_3x3", 64, 3)]
        width = 3
        for conv in (*stem, Conv("3b_1x1", 80), Conv("4a_3x3", 192, 3)):
            padding = 1 if conv.name.startswith("2b") else 0
            self.add_module(f"Conv2d_{conv.name}", _Unit(width, conv, padding))
            width = conv.width
        average: Pool = "average" if form == "torchvision" else "average_inside"
        last: Pool = "average" if form == "torchvision" else "max"
        blocks: dict[str, tuple[list[Branch], Pool]] = {
            **{f"5{k}": (_mixed_a(w), average) for k, w in (("b", 32), ("c", 64), ("d", 64))},
            "6a": (_mixed_b(), "max_halving"),
            **{f"6{k}": (_mixed_c(w), average) for k, w in (("b", 128), ("c", 160), ("d", 160), ("e", 192))},
            "7a": (_mixed_d(), "max_halving"),
            "7b": (_mixed_e(), average),
            "7c": (_mixed_e(), last),
        }
        self.mixed = [f"Mixed_{name}" for name in blocks]
        for name, (branches, pool) in blocks.items():
            block = _Mixed(width, branches, pool)
            self.add_module(f"Mixed_{name}", block)
            width = block.width

    def forward(self, x: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return the taps asked for; see `Inception.forward`."""
        found: dict[str, Tensor] = {}
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)  # 1.4 times faster there
        stages = {
            "conv2d_2b": ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"],
            "conv2d_4a": ["Conv2d_3b_1x1", "Conv2d_4a_3x3"],
            "pool3": self.mixed,
        }
        for tap, names in stages.items():
            for name in names:
                x = self.get_submodule(name)(x)
            if tap in taps:
                found[tap] = x.mean((2, 3)) if tap == "pool3" else x
            if len(found) == len(set(taps)):
                break
            x = F.max_pool2d(x, 3, stride=2)
        return {tap: found[tap] for tap in taps}

    def extra_repr(self) -> str:
        """Return what the modules do not show; a hash of the network takes it in."""
        return f"form={self.form!r}"

    def fill(self, state: Mapping[str, Tensor]) -> None:
        """Take weights from a state file, whose classifiers are left out.

        Raises:
            RuntimeError: If a name or a shape does not fit.
        """
        body = {key: value for key, value in state.items() if not key.startswith(("fc.", "AuxLogits."))}
        # Files older than batch norm's counter do not have it.
        counters = {key: value for key, value in self.state_dict().items() if key.endswith("num_batches_tracked")}
        self.load_state_dict(counters | body)


class Inception(FrozenNetwork):
    """A frozen Inception-v3 on pictures that a front end has prepared.

    Args:
        trunk: Its convolutions, with weights.
        source: Where the weights come from.

    Attributes:
        channels: Channels of every tap.
        smallest: Side in pixels that each tap needs.
    """

    def __init__(self, trunk: InceptionTrunk, source: str) -> None:
        super().__init__(source)
        self.trunk = trunk
        self.channels = dict(TAPS)
        self.smallest = dict(SMALLEST)
        self.freeze()

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return the features asked for; the pass stops at the deepest of them.

        Args:
            images: ``(B, 3, H, W)``, RGB, scaled as the weights expect, about [-1, 1]; at least ``smallest`` a side.
            taps: ``conv2d_2b`` and ``conv2d_4a``, after the rectifier and before the first and the second max-pool,
                and ``pool3``, the mean over space of the last block.

        Returns:
            Maps ``(B, C, h, w)`` and, for ``pool3``, ``(B, 2048)``.
        """
        features: dict[str, Tensor] = self.trunk(images, taps)
        return features
