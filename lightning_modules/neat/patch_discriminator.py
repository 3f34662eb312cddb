"""A discriminator that asks whether a patch comes from the same picture as a handful of reference patches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.neat.equalized import EqualizedConv2d, EqualizedLinear

SLOPE = 0.2
ACTIVATION_GAIN = 2**0.5
"""Of the leaky ReLU, so that it keeps the variance; Karras et al. 2020 (StyleGAN2), public code."""
SMALLEST = 8
"""Pixels of the smallest patch that can be halved to a map of at least 4 pixels."""


class Rectify(nn.LeakyReLU):
    """Leaky ReLU in place; its gain is in the layer before it."""

    def __init__(self) -> None:
        super().__init__(SLOPE, inplace=True)


class Blur(nn.Module):
    """Low pass ``[1, 3, 3, 1] x [1, 3, 3, 1] / 64`` of every channel, borders padded with zeros.

    Args:
        padding: Of either border.
        stride: Between the places that are kept.

    Source: Karras et al. 2020 (StyleGAN2), appendix B; Zhang 2019 for why.
    """

    kernel: Tensor

    def __init__(self, padding: int, stride: int = 1) -> None:
        super().__init__()
        self.padding, self.stride = padding, stride
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", taps.outer(taps).view(1, 1, 4, 4), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, h, w)``."""
        channels = maps.shape[1]
        kernel = self.kernel.expand(channels, 1, 4, 4)
        return F.conv2d(maps, kernel, stride=self.stride, padding=self.padding, groups=channels)


class ResidualBlock(nn.Module):
    """``(act(conv(act(conv(x)))) + conv1x1(x)) / sqrt(2)``, with ``act(z) = sqrt(2) max(z, 0.2 z)``.

    The factors are gains of the convolutions: that of the second ``act`` and the division cancel out.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        halve: Whether the output is half as large, rounded down; both ways are then blurred first.

    Source: Karras et al. 2020 (StyleGAN2), section 4.1 and appendix B.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool) -> None:
        super().__init__()
        self.first = EqualizedConv2d(inputs, inputs, 3, padding=1, gain=ACTIVATION_GAIN)
        self.second = EqualizedConv2d(inputs, outputs, 3, stride=1 + halve, padding=1 - halve)
        self.skip = EqualizedConv2d(inputs, outputs, 1, bias=False, gain=1 / ACTIVATION_GAIN)
        self.rectify = Rectify()
        self.blur = Blur(padding=2) if halve else nn.Identity()
        self.shrink = Blur(padding=1, stride=2) if halve else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, h, w)``."""
        hidden = self.rectify(self.first(maps))
        changed: Tensor = self.rectify(self.second(self.blur(hidden)))
        kept: Tensor = self.skip(self.shrink(maps))
        return changed + kept


class CoOccurrenceDiscriminator(nn.Module):
    """Does this patch come from the picture that the reference patches come from?

    Residual blocks halve a patch to 4 to 7 pixels, while channels double up to a limit; one more block and an unpadded
    convolution end in the features. The mean features of the reference patches, joined to those of one patch, go
    through a multi-layer perceptron with one output.

    Args:
        size: Side of the patches in pixels, at least 8; 4 times a power of 2 gives the shortest features.
        width: Channels at the patches' own resolution. 32 at 128 px and 64 at 64 px are the source's.
        max_channels: Limit of the doubling; the block before the last convolution has twice as many.
        hidden: Units of the perceptron's first and second layer; the third has half.

    Raises:
        ImpastoError: If the patches are too small.

    Source: Park et al. 2020 (Swapping Autoencoder), section 3.2 and appendix B; Karras et al. 2020 (StyleGAN2).
    """

    def __init__(self, size: int = 64, width: int = 64, max_channels: int = 384, hidden: int = 2048) -> None:
        super().__init__()
        if size < SMALLEST:
            raise ImpastoError(
                f"Patches of {size} pixels are too small for their discriminator: set model.patches.size to at least "
                f"{SMALLEST}."
            )
        channels, side = width, size
        layers: list[nn.Module] = [EqualizedConv2d(3, width, 3, padding=1, gain=ACTIVATION_GAIN), Rectify()]
        while side >= SMALLEST:
            wider = min(2 * channels, max_channels)
            layers.append(ResidualBlock(channels, wider, halve=True))
            channels, side = wider, side // 2
        layers += [
            ResidualBlock(channels, 2 * channels, halve=False),
            EqualizedConv2d(2 * channels, channels, 3, gain=ACTIVATION_GAIN),
            Rectify(),
        ]
        self.trunk = nn.Sequential(*layers)
        self.pair = EqualizedLinear(2 * channels * (side - 2) ** 2, hidden, gain=ACTIVATION_GAIN)
        self.judge = nn.Sequential(
            Rectify(),
            EqualizedLinear(hidden, hidden, gain=ACTIVATION_GAIN),
            Rectify(),
            EqualizedLinear(hidden, hidden // 2, gain=ACTIVATION_GAIN),
            Rectify(),
            EqualizedLinear(hidden // 2, 1),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, patches: Tensor) -> Tensor:
        """Map patches ``(N, 3, size, size)``, in [0, 1], to ``(N, D)``."""
        maps: Tensor = self.trunk((2 * patches - 1).contiguous(memory_format=torch.channels_last))
        return maps.flatten(1)

    def score(self, reference: Tensor, patches: Tensor) -> Tensor:
        """Say how likely patches come from the reference's picture, as logits.

        Args:
            reference: Mean features of the reference patches, ``(B, D)``.
            patches: Features of the patches in question, ``(B, K, D)``.

        Returns:
            ``(B, K)``.
        """
        scores: Tensor = self.judge(self.pair.of_pairs(reference, patches))
        return scores.squeeze(2)
