"""The style network: a small U-Net for every job, several of them side by side in one tensor."""

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.padding import Padding, reflected

STRIDE = 8
"""Sides are multiples of this: the U-Net halves them three times."""


class StackedConv2d(nn.Module):
    """As many convolutions as there are jobs, each on its own picture: one grouped convolution.

    Args:
        jobs: N.
        inputs: Channels of a picture.
        outputs: Channels of its result.
        kernel: Side of the kernel.
        stride: Step in pixels.
        padding: What is beyond the borders.
    """

    def __init__(
        self, jobs: int, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: Padding = "zeros"
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(jobs, outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(jobs, outputs))
        self.stride = stride
        self.beyond = (kernel - 1) // 2
        self.reflects = padding == "reflect"

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(n, inputs, H, W)`` with the first n kernels, ``n <= N``."""
        jobs, channels, height, width = x.shape
        weight, bias = self.weight[:jobs].flatten(0, 1), self.bias[:jobs].flatten()
        joined, zeros = x.reshape(1, jobs * channels, height, width), self.beyond
        if self.reflects and self.beyond:
            joined, zeros = reflected(joined, self.beyond), 0
        out = F.conv2d(joined, weight, bias, self.stride, zeros, groups=jobs)
        return out.view(jobs, -1, *out.shape[-2:])

    @torch.no_grad()
    def start(self, job: int, generator: torch.Generator) -> None:
        """Draw one job's weights as torch's own convolutions do: uniform in ``+-1 / sqrt(fan in)``."""
        bound = 1 / math.sqrt(self.weight[job, 0].numel())
        for values in (self.weight[job], self.bias[job]):
            values.copy_(torch.empty(values.shape).uniform_(-bound, bound, generator=generator))


class Residual(nn.Module):
    """Two convolutions, each with instance norm and rectifier, beside one of a single pixel.

    Args:
        jobs: N.
        inputs: Channels.
        outputs: Channels.
        padding: What is beyond the borders.
    """

    def __init__(self, jobs: int, inputs: int, outputs: int, padding: Padding = "zeros") -> None:
        super().__init__()
        self.first = StackedConv2d(jobs, inputs, outputs, 3, padding=padding)
        self.second = StackedConv2d(jobs, outputs, outputs, 3, padding=padding)
        self.beside = StackedConv2d(jobs, inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, outputs, H, W)``."""
        x, beside = F.relu(F.instance_norm(self.first(x)), inplace=True), self.beside(x)
        return cast(Tensor, F.relu(F.instance_norm(self.second(x)), inplace=True) + beside)


class StyleUNet(nn.Module):
    """N style networks of 615,267 parameters.

    Args:
        jobs: N.
        width: g, channels at full size.
        padding: What is beyond the borders. Zeros are the public code's; a network that sees them learns them, and
            paints a frame wherever a region reaches the border.

    Source: LEAST, section 4 ("3 downsample and 3 upsample layers, with channel dimensions of 16, 32, 64"); blocks,
        kernels and skips as in CLIPstyler's network, which the public code uses unchanged.
    """

    def __init__(self, jobs: int = 1, width: int = 16, padding: Padding = "zeros") -> None:
        super().__init__()
        self.jobs = jobs
        widths = (width, 2 * width, 4 * width)
        self.first = StackedConv2d(jobs, 3, width, 1)
        self.entry = Residual(jobs, width, width, padding)
        before = (width, *widths[:-1])
        self.down = nn.ModuleList(Residual(jobs, i, o, padding) for i, o in zip(before, widths, strict=True))
        self.halve = nn.ModuleList(StackedConv2d(jobs, o, o, 4, 2, padding) for o in widths)
        self.middle = Residual(jobs, widths[-1], 2 * widths[-1], padding)
        below = (*widths[1:], 2 * widths[-1])
        self.up = nn.ModuleList(Residual(jobs, i + o, o, padding) for i, o in zip(below, widths, strict=True))
        self.exit = Residual(jobs, 2 * width, width, padding)
        self.last = StackedConv2d(jobs, width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Paint by the first n networks.

        Args:
            x: ``(n, 3, H, W)``, sides multiples of `STRIDE`.

        Returns:
            ``(n, 3, H, W)``, before the sigmoid.
        """
        entry = x = self.entry(self.first(x))
        skips = []
        for block, halve in zip(self.down, self.halve, strict=True):
            skips.append(block(x))
            x = halve(skips[-1])
        x = self.middle(x)
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([larger, skip], 1))
        return cast(Tensor, self.last(self.exit(torch.cat([x, entry], 1))))

    def start(self, seeds: Sequence[int]) -> None:
        """Begin anew: the first networks get the weights that their seeds stand for, on every device the same."""
        for job, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            for layer in self.layers():
                layer.start(job, generator)

    @torch.no_grad()
    def clip_gradients(self, largest: float) -> None:
        """Shrink every job's gradients to a norm, by the job's own: one over all would tie the jobs together.

        Args:
            largest: Norm that a job's gradients may have; longer ones get it, as by ``clip_grad_norm_``.
        """
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)  # N
        shares = (largest / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(shares.view(-1, *[1] * (gradient.ndim - 1)))

    def layers(self) -> Iterator[StackedConv2d]:
        """Yield all convolutions, in the order in which they were declared."""
        return (module for module in self.modules() if isinstance(module, StackedConv2d))
