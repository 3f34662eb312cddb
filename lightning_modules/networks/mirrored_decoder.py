"""From restyled features to a picture: the decoder that mirrors the encoder, and one that makes texture."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.losses.statistics import normalize_channels
from lightning_modules.networks.decoder_layer import DecoderLayer
from lightning_modules.networks.padding import reflected
from lightning_modules.networks.tiled_encoder import ShallowMap
from lightning_modules.networks.tiled_layer import layer_in_tiles
from lightning_modules.networks.tiling import Computed, Source, Window, in_tiles

SHALLOW = ("relu1_1", "relu2_1")
"""Where the skips come from, finest first."""
PUBLIC_PLACES = {
    1: "stage4.0",
    5: "stage3.0",
    8: "stage3.1",
    11: "stage3.2",
    14: "stage3.3",
    18: "stage2.0",
    21: "stage2.1",
    25: "stage1.0",
    28: "stage1.1",
}
"""Convolutions of `Decoder` by their place in the ``nn.Sequential`` of public codes: AdaIN, SANet, PAMA, ContraAST."""
CELL = 8  # pixels that a position of relu4_1 stands for
DECODER_HALO = 4  # positions: a pixel is seen from 30 pixels away


@dataclass(frozen=True)
class Texture:
    """A decoder that makes texture, see `TexturedDecoder`; not in the paper.

    Attributes:
        widths: Its channels at the resolutions of relu1_1, relu2_1 and relu3_1.
        manner: Length of the vector that shapes its layers.
    """

    widths: tuple[int, int, int] = (24, 48, 96)
    manner: int = 64


class ReflectConv(nn.Module):
    """Reflection-padded 3x3 convolution with an optional ReLU.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        relu: Whether a ReLU follows.
    """

    def __init__(self, inputs: int, outputs: int, *, relu: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.relu = relu

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``."""
        features = self.convolution(reflected(features, 1))
        return F.relu(features, inplace=True) if self.relu else features


class StyledSkip(nn.Module):
    """A narrow path for the content's fine structure, in the style's own channel statistics.

    Beyond the paper, whose decoder knows nothing finer than relu4_1 at stride 8; an encoder that forgets there what
    the decoder needs cannot do without.

    Args:
        inputs: Channels of the shallow map.
        outputs: Channels of the skip.

    Source: AdaIN, Huang & Belongie 2017, eq. 8.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)

    def forward(
        self, content: Tensor, statistics: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Map content features ``(B, inputs, H, W)`` to ``(B, outputs, H, W)`` with the style's mean and deviation.

        ``own`` is the content's mean and deviation, where the features are only a window of it.
        """
        mean, std = statistics
        normalized = normalize_channels(content) if own is None else (content - own[0]).div_(own[1])
        reduced: Tensor = self.reduce(normalized * std + mean)
        return reduced

    def computed(self, content: ShallowMap, statistics: tuple[Tensor, Tensor]) -> Computed:
        """Return what `forward` returns, computed where it is looked at."""
        batch, _, *size = content.maps.shape

        def part(window: Window) -> Tensor:
            restyled: Tensor = self(content.maps.part(window), statistics, content.statistics)
            return restyled

        return Computed((batch, self.reduce.out_channels, *size), part)


class SkippingDecoder(nn.Module):
    """What both decoders have in common: narrow paths from the content's shallow maps.

    Args:
        channels: Of blocks 1 to 4 of the encoder.
        skips: Channels of each `StyledSkip`; 0 for none.
        finest: Channels of the decoder's own maps as large as the picture.

    Attributes:
        finest: Channels of the widest map as large as the picture.
    """

    def __init__(self, channels: Sequence[int], skips: int, finest: int) -> None:
        super().__init__()
        self.finest = finest + skips
        levels = zip(SHALLOW, channels, strict=False)
        self.skips = nn.ModuleList(StyledSkip(count, skips) for _, count in levels) if skips else None

    def styled_skips(self, shallow: Mapping[str, Tensor], statistics: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Return what joins the last stages, finest first: ``skips`` channels each, of the size of `SHALLOW`.

        Args:
            shallow: The content's maps `SHALLOW`.
            statistics: The style's mean and deviation there, ``(B, C, 1, 1)`` each.
        """
        if self.skips is None:
            return []
        levels = zip(self.skips, SHALLOW, statistics, strict=True)
        return [skip(shallow[name], moments) for skip, name, moments in levels]

    def tiled_skips(
        self, shallow: Mapping[str, ShallowMap], statistics: Sequence[tuple[Tensor, Tensor]]
    ) -> list[Computed]:
        """Return what `styled_skips` returns, computed where it is looked at."""
        if self.skips is None:
            return []
        levels = zip(self.skips, SHALLOW, statistics, strict=True)
        return [cast(StyledSkip, skip).computed(shallow[name], moments) for skip, name, moments in levels]


class Decoder(SkippingDecoder):
    """The encoder up to relu4_1, mirrored: nearest-neighbour doubling, reflection padding, no norms.

    Args:
        channels: Of blocks 1 to 4 of the encoder; 64, 128, 256, 512 for VGG-19.
        skips: Channels of each `StyledSkip`; 0 for none, as in the paper.

    Source: Huang & Belongie 2017; public ContraAST code, ``decoder``. The last layer is linear.
    """

    def __init__(self, channels: Sequence[int], *, skips: int = 0) -> None:
        super().__init__(channels, skips, channels[0])
        first, second, third, fourth = channels
        self.stage4 = nn.Sequential(ReflectConv(fourth, third))
        self.stage3 = nn.Sequential(*(ReflectConv(third, third) for _ in range(3)), ReflectConv(third, second))
        self.stage2 = nn.Sequential(ReflectConv(second + skips, second), ReflectConv(second, first))
        self.stage1 = nn.Sequential(ReflectConv(first + skips, first), ReflectConv(first, 3, relu=False))

    def forward(self, features: Tensor, *skips: Tensor) -> Tensor:
        """Paint.

        Args:
            features: ``(B, C, H, W)``, the output of `Transform`.
            *skips: From `styled_skips`.

        Returns:
            ``(B, 3, 8 H, 8 W)``, RGB, unbounded.
        """
        finest, finer = skips if skips else (None, None)
        features = _double(self.stage4(features.contiguous(memory_format=torch.channels_last)))
        features = _double(self.stage3(features))
        features = _double(self.stage2(_join(features, finer)))
        picture: Tensor = self.stage1(_join(features, finest))
        return picture

    def in_tiles(self, features: Tensor, *skips: Source, tile: int) -> Tensor:
        """Return what `forward` returns, tile by tile; ``tile`` in pixels of the picture."""
        cells = (features.shape[-2], features.shape[-1])
        side = max(1, tile // CELL)
        return in_tiles(lambda *parts: [self(*parts)], [features, *skips], cells, tile=side, halo=DECODER_HALO)[0]


class TexturedDecoder(SkippingDecoder):
    """The mirrored decoder with layers that are normalised, shaped by the style and given noise.

    Doublings are bilinear: nearest neighbours make bricks of noise.

    Args:
        channels: Of blocks 1 to 4 of the encoder.
        widths: Channels at the resolutions of relu1_1, relu2_1 and relu3_1.
        manner: Length of the vector that shapes the layers.
        skips: Channels of each `StyledSkip`; 0 for none.

    Source: ours for style transfer by attention; Karras et al. 2019 (StyleGAN), section 3, for the layers.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], manner: int, *, skips: int = 0) -> None:
        super().__init__(channels, skips, widths[0])
        fine, middle, coarse = widths
        numbers = itertools.count()

        def layer(inputs: int, outputs: int) -> DecoderLayer:
            return DecoderLayer(inputs, outputs, "styled", manner, noise=next(numbers))

        self.stage4 = nn.ModuleList([layer(channels[3], coarse)])
        self.stage3 = nn.ModuleList([layer(coarse, coarse), layer(coarse, middle)])
        self.stage2 = nn.ModuleList([layer(middle + skips, middle), layer(middle, fine)])
        self.stage1 = nn.ModuleList([layer(fine + skips, fine)])
        self.to_rgb = DecoderLayer(fine, 3, None, manner, relu=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, features: Tensor, *skips: Tensor, manner: Tensor, seed: Tensor) -> Tensor:
        """Paint.

        Args:
            features: ``(B, C, H, W)``, the output of `Transform`.
            *skips: From `styled_skips`.
            manner: ``(B, manner)``, from `MannerVector`.
            seed: Of every picture's noise, ``(B,)``, int64.

        Returns:
            ``(B, 3, 8 H, 8 W)``, RGB, unbounded.
        """
        finest, finer = skips if skips else (None, None)
        features = features.contiguous(memory_format=torch.channels_last)
        for stage, skip in ((self.stage4, None), (self.stage3, None), (self.stage2, finer), (self.stage1, finest)):
            features = _join(features, skip)
            for layer in stage:
                features = layer(features, manner, seed)
            if stage is not self.stage1:
                features = F.interpolate(features, scale_factor=2.0, mode="bilinear")
        rgb: Tensor = self.to_rgb(features, manner, seed)
        return rgb

    def in_tiles(self, features: Tensor, *skips: Source, manner: Tensor, seed: Tensor, tile: int) -> Tensor:
        """Return what `forward` returns, layer by layer and each of them tile by tile.

        A norm needs its statistics before anything of it can be used: every layer's convolution is kept whole, and
        what comes after it is done where the next layer looks at it.

        Args:
            features: As in `forward`.
            *skips: As in `forward`.
            manner: As in `forward`.
            seed: As in `forward`.
            tile: Side of the tiles, in pixels of the picture.
        """
        finest, finer = skips if skips else (None, None)
        source: Source = features
        for stage, skip in ((self.stage4, None), (self.stage3, None), (self.stage2, finer), (self.stage1, finest)):
            double, joined = stage is not self.stage4, skip
            for layer in stage:
                side = _tile_of(source, features, tile)
                source = layer_in_tiles(cast(DecoderLayer, layer), source, joined, manner, seed, side, double=double)
                double, joined = False, None
        cells = (source.shape[-2], source.shape[-1])
        side = _tile_of(source, features, tile)
        return in_tiles(lambda maps: [self.to_rgb.convolution(maps)], [source], cells, tile=side, halo=1)[0]


def _tile_of(source: Source, features: Tensor, tile: int) -> int:
    """Return the side of a tile in positions of a map, given that in pixels and the map of relu4_1."""
    return max(1, tile * source.shape[-2] // (CELL * features.shape[-2]))


def _join(maps: Tensor, skip: Tensor | None) -> Tensor:
    return maps if skip is None else torch.cat([maps, skip], dim=1)


def _double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0)
