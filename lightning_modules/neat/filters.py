"""Two filters that take detail away: a Gaussian, and a bilateral filter, which leaves edges as they are.

Both mirror the picture about its outermost pixels, go through it tile by tile, and let no gradient through.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.losses.precision import at_least_float32, without_gradient
from lightning_modules.neat.portable import NOTHING, bilateral_in_graph

Offset = tuple[int, int, float]
"""Rows down, columns to the right, weight."""

_CPU_PIXELS = 24_576  # of a tile, for each thread: what the bilateral filter keeps of it fits a second-level cache
_DEVICE_PIXELS = 1 << 22


def default_sigma(radius: float) -> float:
    """Return the deviation, in pixels, that OpenCV takes for a Gaussian of ``2 radius + 1`` taps.

    Source: OpenCV, documentation of ``getGaussianKernel``: ``0.3 ((taps - 1) / 2 - 1) + 0.8``.

    Examples:
        >>> round(default_sigma(3), 9)
        1.4
    """
    return 0.3 * (radius - 1) + 0.8


@without_gradient
def gaussian_blur(images: Tensor, radius: float = 3.0, sigma: float | None = None) -> Tensor:
    """Blur by a sampled and truncated Gaussian, the same down and across.

    Args:
        images: ``(B, C, H, W)``, any range; half precision is computed and returned in float32.
        radius: Taps on either side of the middle one. Of a fractional radius the outermost taps count in part, so that
            the result moves continuously with it.
        sigma: Deviation in pixels; `default_sigma` of the radius where it is None.

    Returns:
        ``(B, C, H, W)``.

    Raises:
        ValueError: If the radius is negative, or the deviation is not positive.
    """
    sigma = default_sigma(radius) if sigma is None else sigma
    _check(radius, sigma)
    reach = math.ceil(radius)
    halves = [_share(tap**2, radius) * math.exp(-(tap**2) / (2 * sigma**2)) for tap in range(reach + 1)]
    total = halves[0] + 2 * sum(halves[1:])
    taps = [half / total for half in [*halves[:0:-1], *halves]]

    def blur(patch: Tensor) -> Tensor:
        for dim in (-1, -2):
            size = patch.shape[dim] - 2 * reach
            blurred = patch.narrow(dim, 0, size) * taps[0]
            for place, tap in enumerate(taps[1:], 1):
                blurred.add_(patch.narrow(dim, place, size), alpha=tap)
            patch = blurred
        return patch

    return _filtered(at_least_float32(images), reach, blur)


@without_gradient
def bilateral_filter(
    images: Tensor, radius: float = 12.0, sigma_color: float = 100 / 255, sigma_space: float = 100.0
) -> Tensor:
    """Replace every pixel by a mean over a disc around it, in which other colours count less.

    ``sum_q w x_q / sum_q w``, ``w = exp(-|p - q|^2 / 2 sigma_space^2 - (sum_c |x_pc - x_qc|)^2 / 2 sigma_color^2)``.

    Args:
        images: ``(B, C, H, W)``, any range; half precision is computed and returned in float32.
        radius: Of the disc, in pixels; OpenCV's diameter is ``2 radius + 1``. With a fractional radius, what lies
            outside the disc of the next smaller whole radius and inside that of the next larger one counts in part.
        sigma_color: Deviation of the colour distance, in units of the images.
        sigma_space: Deviation of the distance, in pixels.

    Returns:
        ``(B, C, H, W)``.

    Raises:
        ValueError: If the radius is negative, or a deviation is not positive.

    Source: Tomasi & Manduchi 1998, eq. 5-6, with OpenCV's ``bilateralFilter``: disc, L1 distance of colours, border.
    """
    _check(radius, sigma_color, sigma_space)
    reach = math.ceil(radius)
    offsets = list(_half_disc(radius, sigma_space))
    steepness = 1 / (2 * sigma_color**2)
    if torch.compiler.is_exporting():
        return bilateral_in_graph(images, _disc(radius, sigma_space), steepness)
    return _filtered(at_least_float32(images), reach, lambda patch: _bilateral(patch, reach, offsets, steepness))


def _bilateral(patch: Tensor, reach: int, offsets: list[Offset], steepness: float) -> Tensor:
    """Filter ``(B, C, H + 2 reach, W + 2 reach)`` to ``(B, C, H, W)``.

    A pair of pixels has one weight, which both use: half the disc is enough. All rows of a picture lie in one line, on
    which an offset is a distance and operations run on; what meets across the ends of rows lies in the border.
    """
    batch, channels, height, width = patch.shape
    rows = height - 2 * reach
    line = patch.new_ones(channels + 1, batch, height * width)  # the plane of ones adds up the weights
    line[:-1] = patch.transpose(0, 1).flatten(2)
    sums = line.clone()
    gaps = line.new_empty(channels, batch, (rows + reach) * width)
    zero = line.new_zeros(())
    for down, right, weight in offsets:
        here = slice((reach - down) * width, (reach + rows) * width)
        there = slice(reach * width + right, (reach + rows + down) * width + right)
        gap = gaps[..., : (rows + down) * width]
        torch.sub(line[:-1, :, here], line[:-1, :, there], out=gap).abs_()
        distance = gap[0]
        for plane in gap[1:]:
            distance.add_(plane)
        torch.addcmul(zero, distance, distance, value=-steepness, out=distance).exp_()
        sums[..., here].addcmul_(line[..., there], distance, value=weight)
        sums[..., there].addcmul_(line[..., here], distance, value=weight)
    means: Tensor = (sums[:-1] / sums[-1]).unflatten(2, (height, width)).transpose(0, 1)
    return means[..., reach : reach + rows, reach : width - reach]


def _half_disc(radius: float, sigma: float) -> Iterator[Offset]:
    """Yield one of every two opposite offsets, down or straight to the right."""
    reach = math.ceil(radius)
    for down, right in product(range(reach + 1), range(-reach, reach + 1)):
        square = down**2 + right**2
        share = _share(square, radius)
        if share and (down or right > 0):
            yield down, right, share * math.exp(-square / (2 * sigma**2))


def _disc(radius: float, sigma: float) -> list[list[float]]:
    """Return the logarithms of the weights of all offsets, row by row: numbers, which a graph takes as they are."""
    reach = math.ceil(radius)
    logarithms = [[NOTHING] * (2 * reach + 1) for _ in range(2 * reach + 1)]
    for down, right, weight in [(0, 0, 1.0), *_half_disc(radius, sigma)]:
        for sign in (-1, 1):
            logarithms[reach + sign * down][reach + sign * right] = math.log(weight)
    return logarithms


def _share(square: int, radius: float) -> float:
    whole = math.floor(radius)
    return 1.0 if square <= whole**2 else radius - whole if square <= (whole + 1) ** 2 else 0.0


def _filtered(images: Tensor, reach: int, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``run`` of every tile with ``reach`` pixels around it, put together."""
    if torch.compiler.is_exporting():
        return run(F.pad(images, (reach, reach, reach, reach), mode="reflect"))
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    batch, _, height, width = images.shape
    down, across = (_mirrored(side, reach, images.device) for side in (height, width))
    pictures, rows, columns = _tile(batch, height, width, reach, images.device)
    for first, top in product(range(0, batch, pictures), range(0, height, rows)):
        band = images[first : first + pictures].index_select(2, down[top : top + rows + 2 * reach])
        for left in range(0, width, columns):
            patch = band.index_select(3, across[left : left + columns + 2 * reach])
            result[first : first + pictures, :, top : top + rows, left : left + columns] = run(patch)
    return result


def _tile(batch: int, height: int, width: int, reach: int, device: torch.device) -> tuple[int, int, int]:
    """Return how many pictures, rows and columns to take at a time."""
    budget = _CPU_PIXELS * torch.get_num_threads() if device.type == "cpu" else _DEVICE_PIXELS
    columns = _evenly(width, int(1.7 * budget**0.5))  # broad, as the columns around a tile cost more than the rows
    rows = _evenly(height, budget // (columns + 2 * reach))
    return _evenly(batch, budget // (rows * (columns + 2 * reach))), rows, columns


def _evenly(size: int, most: int) -> int:
    return math.ceil(size / math.ceil(size / max(1, most)))


def _mirrored(size: int, reach: int, device: torch.device) -> Tensor:
    """Return the places ``-reach`` to ``size + reach``, folded back as often as it takes; one pixel is repeated."""
    period = max(1, 2 * (size - 1))
    places = torch.arange(-reach, size + reach, device=device) % period
    return torch.minimum(places, period - places) if size > 1 else torch.zeros_like(places)


def _check(radius: float, *deviations: float) -> None:
    if radius < 0 or min(deviations) <= 0:
        raise ValueError(f"a filter needs a radius from 0 and deviations over 0, got {radius} and {deviations}")
