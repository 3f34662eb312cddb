"""Layers with equalised learning rates: weights of variance 1, scaled when they are used.

Under Adam every weight then moves by the same share of its layer's dynamic range, whatever the layer's fan-in. The gain
of an activation is a part of the scale: ``gain max(z, 0.2 z) = max(gain z, 0.2 gain z)`` costs no pass over the maps.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EqualizedConv2d(nn.Module):
    """Convolution, ``gain (w * x / sqrt(fan_in) + b)``.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel.
        stride: Of the convolution.
        padding: Of zeros.
        bias: Whether there is a b, which starts at 0.
        gain: Factor of the output.

    Source: Karras et al. 2018 (progressive GAN), section 4.1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain, self.stride, self.padding = gain, stride, padding
        self.scale = gain / math.sqrt(inputs * kernel**2)

    def forward(self, maps: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, h, w)``."""
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(maps, self.weight * self.scale, bias, self.stride, self.padding)


class EqualizedLinear(nn.Module):
    """Linear layer, ``gain (w x / sqrt(inputs) + b)``.

    Args:
        inputs: Length of x.
        outputs: Length of the output.
        gain: Factor of the output.

    Source: Karras et al. 2018 (progressive GAN), section 4.1.
    """

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain = gain
        self.scale = gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., inputs)`` to ``(..., outputs)``."""
        return F.linear(x, self.weight * self.scale, self.bias * self.gain)

    def of_pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the output for every ``x = concat(first, second)``, the part of ``first`` computed once.

        Args:
            first: ``(B, D)``.
            second: ``(B, K, inputs - D)``.

        Returns:
            ``(B, K, outputs)``.
        """
        weight = (self.weight * self.scale).split([first.shape[1], second.shape[2]], dim=1)
        shared = F.linear(first, weight[0], self.bias * self.gain)
        return shared.unsqueeze(1) + F.linear(second, weight[1])
