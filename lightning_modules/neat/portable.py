"""What the content prior computes in a graph that is exported, which knows no sizes and has fewer operations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.networks.loops import scan

NOTHING = -1e4
"""Logarithm of a weight of zero."""
BAND = 4
"""Rows at a time: what the bilateral filter keeps of all taps of a row of the disc then stays in a cache."""
SWEEPS = 6
"""Of Jacobi's method. Three by three, it is at rounding after four; it converges quadratically."""


def bilateral_in_graph(images: Tensor, logarithms: list[list[float]], steepness: float) -> Tensor:
    """Return what `lightning_modules.neat.filters.bilateral_filter` does, of one picture.

    A loop over bands of rows, and in it one over the rows of the disc, whose taps are the first axis. Written out, the
    graph would have thousands of nodes, each of which goes through the picture in main memory.

    Args:
        images: ``(1, C, H, W)``; H is a multiple of `BAND`, both are larger than the disc's radius.
        logarithms: Of the disc's weights, ``2 reach + 1`` rows of as many; `NOTHING` outside of it.
        steepness: What the squared distance of colours is multiplied with.
    """
    taps = len(logarithms)
    reach = taps // 2
    channels, height, width = images.shape[1:]
    scale = steepness**0.5
    padded = F.pad(images * scale, (reach, reach, reach, reach), mode="reflect")[0]
    lines, rows = torch.arange(taps), torch.arange(BAND)
    table = torch.tensor(logarithms).view(taps, taps, 1, 1, 1)

    def band(none: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        here = padded.index_select(1, first + reach + rows)[..., reach : reach + width]

        def line(sums: tuple[Tensor, Tensor], row: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
            down, logarithm = row
            seen = padded.index_select(1, first + down + rows)
            there = torch.stack([seen[..., right : right + width] for right in range(taps)])
            distance = (there - here).abs().sum(1, keepdim=True)
            share = (logarithm - distance * distance).exp()
            return (sums[0] + (there * share).sum(0), sums[1] + share.sum(0)), down.clone()

        start = here.new_zeros(channels, BAND, width), here.new_zeros(1, BAND, width)
        (total, weight), _ = scan(line, start, (lines, table))
        return none.clone(), total / weight

    starts = torch.arange(height // BAND) * BAND
    _, bands = scan(band, torch.zeros(()), starts)
    filtered: Tensor = bands.transpose(0, 1).reshape(1, channels, height, width) / scale
    return filtered


def power_in_graph(matrices: Tensor, exponent: float, least: float, most: float) -> Tensor:
    """Return a power of symmetric matrices ``(B, 3, 3)`` with clamped eigenvalues, by Jacobi's rotations.

    Source: Golub & Van Loan, Matrix Computations, section 8.5.
    """
    units = torch.eye(3, dtype=matrices.dtype)

    def sweep(pair: tuple[Tensor, Tensor], number: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        rotated, vectors = pair
        for i, j in ((0, 1), (0, 2), (1, 2)):
            off, gap = rotated[:, i, j], rotated[:, j, j] - rotated[:, i, i]
            sign = torch.where(gap < 0, -1.0, 1.0).to(off)
            tangent = 2 * off * sign / (gap.abs() + (gap * gap + 4 * off * off).sqrt()).clamp(min=1e-300)
            cosine = (1 / (tangent * tangent + 1).sqrt()).view(-1, 1, 1)
            sine = tangent.view(-1, 1, 1) * cosine
            plane = torch.outer(units[i], units[i]) + torch.outer(units[j], units[j])
            turn = torch.outer(units[i], units[j]) - torch.outer(units[j], units[i])
            rotation = units + (cosine - 1) * plane + sine * turn
            rotated, vectors = rotation.mT @ rotated @ rotation, vectors @ rotation
        return (rotated, vectors), number.clone()

    start = (matrices.clone(), units.expand_as(matrices).clone())
    (rotated, vectors), _ = scan(sweep, start, torch.arange(SWEEPS))
    values = (rotated * units).sum(-1).clamp(least, most).pow(exponent)
    power: Tensor = (vectors * values.unsqueeze(-2)) @ vectors.mT
    return power
