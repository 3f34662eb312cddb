"""From restyled features to a picture: the decoder that mirrors the encoder, and one that makes texture."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.losses.statistics import normalize_channels
from lightning_modules.networks.decoder_layer import DecoderLayer

SHALLOW = ("relu1_1", "relu2_1")
"""Where the skips come from, finest first."""


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
        mode = "reflect" if min(features.shape[-2:]) > 1 else "replicate"  # one pixel has nothing to reflect
        features = self.convolution(F.pad(features, (1, 1, 1, 1), mode=mode))
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

    def forward(self, content: Tensor, statistics: tuple[Tensor, Tensor]) -> Tensor:
        """Map content features ``(B, inputs, H, W)`` to ``(B, outputs, H, W)`` with the style's mean and deviation."""
        mean, std = statistics
        reduced: Tensor = self.reduce(normalize_channels(content) * std + mean)
        return reduced


class SkippingDecoder(nn.Module):
    """What both decoders have in common: narrow paths from the content's shallow maps.

    Args:
        channels: Of blocks 1 to 4 of the encoder.
        skips: Channels of each `StyledSkip`; 0 for none.
    """

    def __init__(self, channels: Sequence[int], skips: int) -> None:
        super().__init__()
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


class Decoder(SkippingDecoder):
    """The encoder up to relu4_1, mirrored: nearest-neighbour doubling, reflection padding, no norms.

    Args:
        channels: Of blocks 1 to 4 of the encoder; 64, 128, 256, 512 for VGG-19.
        skips: Channels of each `StyledSkip`; 0 for none, as in the paper.

    Source: Huang & Belongie 2017; public ContraAST code, ``decoder``. The last layer is linear.
    """

    def __init__(self, channels: Sequence[int], *, skips: int = 0) -> None:
        super().__init__(channels, skips)
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
        super().__init__(channels, skips)
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


def _join(maps: Tensor, skip: Tensor | None) -> Tensor:
    return maps if skip is None else torch.cat([maps, skip], dim=1)


def _double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0)
