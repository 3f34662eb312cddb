"""A layer of a decoder that paints under a style code."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.networks.noise import StyledNoise

Norm = Literal["instance", "styled"]


class DecoderLayer(nn.Module):
    """Reflection-padded 3x3 convolution, optional normalisation, optional ReLU.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        norm: ``instance`` has no affine part and erases what the fusion wrote into channel statistics; ``styled``
            takes scale and shift from the style code; None is no normalisation.
        style_dim: Length of the style code.
        relu: Whether a ReLU follows.
        noise: Number of the layer's noise, see `StyledNoise`; None adds none.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Norm | None,
        style_dim: int,
        *,
        relu: bool = True,
        noise: int | None = None,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")
        self.norm = norm
        self.relu = relu
        self.noise = None if noise is None else StyledNoise(style_dim, outputs, noise)
        if norm == "styled":
            self.affine = nn.Linear(style_dim, 2 * outputs)
            nn.init.zeros_(self.affine.bias)
            nn.init.normal_(self.affine.weight, std=0.02)

    def forward(self, features: Tensor, style: Tensor, seed: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)`` under style code ``(B, style_dim)`` and seed ``(B,)``."""
        features = self.convolution(features)
        if self.norm is not None:
            # One group a channel is instance norm, and has a kernel for either memory format.
            features = F.group_norm(features, features.shape[1])
        return self._finish(features, style, seed)

    def finish_window(
        self, window: Tensor, statistics: tuple[Tensor, Tensor], style: Tensor, seed: Tensor, origin: tuple[int, int]
    ) -> Tensor:
        """Return what `forward` makes of a window of what its convolution returned.

        Args:
            window: ``(B, outputs, h, w)``.
            statistics: Mean and deviation of the whole that the window is from, ``(B, outputs, 1, 1)`` each, with the
                biased variance of an instance norm.
            style: As in `forward`.
            seed: As in `forward`.
            origin: The window's first row and column.
        """
        if self.norm is not None:
            mean, std = statistics
            window = (window - mean).div_(std)
        return self._finish(window, style, seed, origin)

    def _finish(self, features: Tensor, style: Tensor, seed: Tensor, origin: tuple[int, int] = (0, 0)) -> Tensor:
        if self.norm == "styled":
            scale, shift = self.affine(style)[..., None, None].chunk(2, dim=1)
            features = features * (1 + scale) + shift
        if self.noise is not None:
            features = self.noise(features, style, seed, origin)
        return F.relu(features) if self.relu else features
