"""VGG-shaped feature encoders: VGG-19, VGG-16, AdaIN's normalised VGG-19 and the slim embedded one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.padding import Padding, reflected

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class VGGConfig:
    """The shape of a VGG and what it expects of its input.

    Attributes:
        convs: Convolutions in each of the blocks; a max-pool stands between blocks.
        widths: Channels of each block.
        padding: How the 3x3 convolutions continue the picture. Zeros darken the borders of optimised pictures.
        pooling: What a pool takes of two by two positions. Means let brightness through as it is, and style losses'
            gradients reach every pixel rather than the loudest of four (Gatys et al. 2015).
        ceil_mode: Whether a pool keeps an odd last row (TensorFlow's "same").
        colour_conv: Whether a 1x1 convolution 3 -> 3 stands before conv1_1 (AdaIN's file; it holds the normalisation).
        bgr: Whether the channels are reversed first (Caffe).
        mean: Subtracted from the channels in the network's own order, in [0, 1] units.
        std: Divides what is left.
    """

    convs: tuple[int, ...] = (2, 2, 4, 4, 4)
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    padding: Padding = "zeros"
    pooling: Literal["max", "mean"] = "max"
    ceil_mode: bool = False
    colour_conv: bool = False
    bgr: bool = False
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def layers(self) -> Iterator[tuple[str, int]]:
        """Yield ``("1_1", 64)`` and so on, in the order of the forward pass."""
        for block, (count, width) in enumerate(zip(self.convs, self.widths, strict=True), start=1):
            yield from ((f"{block}_{index}", width) for index in range(1, count + 1))

    def reach(self, layer: str) -> int:
        """Return how far a position of a layer sees beyond the pixels that it stands for, on every side, in pixels.

        Examples:
            >>> VGGConfig().reach("relu2_1")  # a pixel from each convolution of block 1, two from the one of block 2
            4
        """
        names = [name for name, _ in self.layers()]
        before = names[: names.index(layer.removeprefix("relu").removeprefix("conv")) + 1]
        return sum(stride_of(name) for name in before)


def stride_of(layer: str) -> int:
    """Return the side of the square of pixels that a position of a layer stands for.

    Examples:
        >>> stride_of("relu4_1")
        8
    """
    block, _, _ = layer.removeprefix("relu").removeprefix("conv").partition("_")
    return int(2 ** (int(block) - 1))


VGG19 = VGGConfig()
VGG19_NORMALISED = VGGConfig(
    padding="reflect", ceil_mode=True, colour_conv=True, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)
VGG16_HED = VGGConfig(
    convs=(2, 2, 3, 3, 3),
    ceil_mode=True,
    bgr=True,
    mean=(104.00699 / 255, 116.66877 / 255, 122.67892 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
)


class VGGTrunk(nn.Module):
    """The convolutions alone, trainable; `VGGEncoder` freezes one.

    Args:
        config: The shape.

    Source: Simonyan & Zisserman 2015, configurations D and E, without the classifier.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: VGGConfig) -> None:
        super().__init__()
        self.config = config
        self.colour = nn.Conv2d(3, 3, 1) if config.colour_conv else None
        self.convs = nn.ModuleDict()
        inputs = 3
        for name, width in config.layers():
            self.convs[name] = nn.Conv2d(inputs, width, 3, padding=1 if config.padding == "zeros" else 0)
            inputs = width
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (config.mean, config.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self._lay_out()

    def forward(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the maps of the layers asked for; see `VGGEncoder.forward`."""
        channels_last = images.device.type == "cpu"  # 1.5 times faster there
        x = images.contiguous(memory_format=torch.channels_last) if channels_last else images
        x = (x.flip(1) if self.config.bgr else x).sub(self.mean).div(self.std)
        x = x if self.colour is None else self.colour(x)
        wanted, maps = set(layers), {}
        for name, conv in self.convs.items():
            if name.endswith("_1") and name != "1_1":
                x = self._pool(x)
            x = conv(self._pad(x))
            if f"conv{name}" in wanted:
                maps[f"conv{name}"] = x
            x = F.relu(x, inplace=f"conv{name}" not in wanted)  # who did not ask for the map before does not miss it
            if f"relu{name}" in wanted:
                maps[f"relu{name}"] = x
            if len(maps) == len(wanted):
                break
        return {layer: maps[layer] for layer in layers}

    @torch.no_grad()
    def fold_colour(self) -> None:
        """Let conv1_1 do the work of the 1x1 colour convolution before it, which then goes; the maps stay the same.

        Exact under reflection padding, which a pointwise map commutes with; not under padding with zeros.
        """
        first = self.convs["1_1"]
        if self.colour is None or self.config.padding == "zeros" or not isinstance(first, nn.Conv2d):
            return
        mix, shift = self.colour.weight[..., 0, 0], self.colour.bias
        assert first.bias is not None and shift is not None  # noqa: S101, PT018 - every convolution here has one
        first.bias += torch.einsum("oikl,i->o", first.weight, shift)
        first.weight.copy_(torch.einsum("oikl,ij->ojkl", first.weight, mix))
        self.colour = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._lay_out()
        return self

    def _lay_out(self) -> None:
        """Keep the weights as the maps lie; on a CPU a convolution would else rearrange them every time."""
        for conv in self.convs.values():
            weight = cast(nn.Conv2d, conv).weight
            layout = torch.channels_last if weight.device.type == "cpu" else torch.contiguous_format
            weight.data = weight.data.contiguous(memory_format=layout)

    def _pool(self, x: Tensor) -> Tensor:
        pool = F.max_pool2d if self.config.pooling == "max" else F.avg_pool2d
        return pool(x, 2, ceil_mode=self.config.ceil_mode)

    def _pad(self, x: Tensor) -> Tensor:
        return x if self.config.padding == "zeros" else reflected(x, 1)


class VGGEncoder(FrozenNetwork):
    """A frozen VGG that returns named feature maps.

    Args:
        trunk: Its convolutions, with weights.
        source: Where the weights come from.

    Attributes:
        channels: Channels of every layer that can be asked for, ``relu1_1`` ... and ``conv1_1`` ....
    """

    def __init__(self, trunk: VGGTrunk, source: str) -> None:
        super().__init__(source)
        self.trunk = trunk
        self.channels = {f"{kind}{name}": width for name, width in trunk.config.layers() for kind in ("conv", "relu")}
        self.freeze()

    def forward(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the feature maps of the layers asked for; the pass stops at the deepest of them.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1]; normalisation happens in here. The map of block k needs sides
                of at least ``2 ** (k - 1)`` pixels.
            layers: Names such as ``relu4_2`` (after the rectifier) or ``conv4_2`` (before it).

        Returns:
            The map of each name, ``(B, channels[name], H / 2 ** (k - 1), W / 2 ** (k - 1))``.

        Raises:
            ValueError: If this encoder has no layer of that name.
        """
        unknown = [layer for layer in layers if layer not in self.channels]
        if unknown:
            raise ValueError(f"{self.source} has no layer {unknown[0]!r}; it has {', '.join(self.channels)}")
        maps: dict[str, Tensor] = self.trunk(images, layers)
        return maps


class PerceptualDistance(FrozenNetwork):
    """The distance of LPIPS without learned weights: unit-normalised features, squared difference, averaged.

    Args:
        encoder: Any `VGGEncoder`.
        layers: The layers compared, each counting the same.

    Source: Zhang et al. 2018, eq. 1 with w = 1 ("baseline" of the lpips package), averaged over the layers so that
    the value lies in [0, 2] (4 for layers before the rectifier).
    """

    def __init__(
        self,
        encoder: VGGEncoder,
        layers: Sequence[str] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    ) -> None:
        super().__init__(encoder.source)
        self.encoder = encoder
        self.layers = tuple(layers)
        self.freeze()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance of every pair, ``(B,)``; both ``(B, 3, H, W)`` in [0, 1]."""
        maps_a, maps_b = self.encoder(a, self.layers), self.encoder(b, self.layers)
        distances = [
            (F.normalize(maps_a[layer], dim=1) - F.normalize(maps_b[layer], dim=1)).square().sum(1).mean((1, 2))
            for layer in self.layers
        ]
        return torch.stack(distances).mean(0)
