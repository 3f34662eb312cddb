"""Run a convolutional network over a large picture tile by tile, with the result of one pass."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Window = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


@dataclass(frozen=True)
class Computed:
    """A map that is computed where it is looked at, and never whole in memory.

    Attributes:
        shape: ``(B, C, H, W)``.
        part: Returns a window of it, ``(B, C, rows, columns)``; the window is in its own pixels.
    """

    shape: tuple[int, ...]
    part: Callable[[Window], Tensor]


Source = Tensor | Computed
Network = Callable[..., Sequence[Tensor]]


def tiles(
    network: Network, inputs: Sequence[Source], cells: tuple[int, int], *, tile: int, halo: int
) -> Iterator[tuple[Window, list[Tensor]]]:
    """Yield the window of every tile, in cells, and what ``network(*inputs)`` is there; see `in_tiles`."""
    rows, columns = cells
    for top in range(0, rows, tile):
        for left in range(0, columns, tile):
            inner = (top, min(rows, top + tile), left, min(columns, left + tile))
            outer = grown(inner, halo, cells)
            parts = network(*(_cut(source, outer, source.shape[-2] // rows) for source in inputs))
            kept = (inner[0] - outer[0], inner[1] - outer[0], inner[2] - outer[2], inner[3] - outer[2])
            yield inner, [_cut(part, kept, part.shape[-2] // (outer[1] - outer[0])) for part in parts]


def in_tiles(
    network: Network, inputs: Sequence[Source], cells: tuple[int, int], *, tile: int, halo: int
) -> list[Tensor]:
    """Return what ``network(*inputs)`` returns, while only a tile and its surroundings are in memory.

    Exact as long as no output depends on inputs further away than the halo, and on nothing global: convolutions,
    pools and interpolations, but no instance norm.

    Args:
        network: Maps tensors to tensors, all of the same area at whatever resolution.
        inputs: ``(B, C_i, rows * f_i, columns * f_i)`` with integers ``f_i``.
        cells: Rows and columns of the coarsest grid among inputs and outputs.
        tile: Side of a tile, in cells.
        halo: Cells around a tile that the network also sees.

    Returns:
        The outputs, each ``(B, C_o, rows * f_o, columns * f_o)``.

    Examples:
        >>> import torch
        >>> doubled = in_tiles(lambda x: [2 * x], [torch.ones(1, 1, 5, 7)], (5, 7), tile=2, halo=1)
        >>> doubled[0].shape, float(doubled[0].min())
        (torch.Size([1, 1, 5, 7]), 2.0)
    """
    results: list[Tensor] = []
    for window, parts in tiles(network, inputs, cells, tile=tile, halo=halo):
        results = results or [whole_of(part, window, cells) for part in parts]
        for result, part in zip(results, parts, strict=True):
            put(result, part, window, cells)
    return results


def whole_of(part: Tensor, window: Window, cells: tuple[int, int]) -> Tensor:
    """Return an empty map of the whole picture, given the part of it in a window of ``cells``."""
    factor = part.shape[-2] // (window[1] - window[0])
    return part.new_empty(*part.shape[:2], cells[0] * factor, cells[1] * factor)


def put(whole: Tensor, part: Tensor, window: Window, cells: tuple[int, int]) -> None:
    """Write a part to its window of ``cells``."""
    _cut(whole, window, whole.shape[-2] // cells[0]).copy_(part)


def grown(window: Window, halo: int, bounds: tuple[int, int]) -> Window:
    """Return a window with ``halo`` more on every side, within ``bounds`` (rows, columns).

    Examples:
        >>> grown((0, 4, 4, 8), 2, (10, 9))
        (0, 6, 2, 9)
    """
    top, bottom, left, right = window
    return max(0, top - halo), min(bounds[0], bottom + halo), max(0, left - halo), min(bounds[1], right + halo)


class Moments:
    """Mean and deviation of every channel of maps that come in parts, each position once.

    Source: Chan, Golub & LeVeque 1979, eq. 2.1, for moments of two groups.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = torch.zeros(())

    def update(self, part: Tensor) -> None:
        """Count the positions of ``(B, C, h, w)``."""
        count = part.shape[-2] * part.shape[-1]
        mean = part.mean((2, 3), keepdim=True)
        squares = (part - mean).square_().sum((2, 3), keepdim=True).double()
        before, mean = self._count, mean.double()
        self._count += count
        if before:
            between = mean - self._mean
            squares += self._squares + between.square() * (before * count / self._count)
            mean = self._mean + between * (count / self._count)
        self._mean, self._squares = mean, squares

    def statistics(self, like: Tensor, *, correction: int = 1, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
        """Return mean and deviation, ``sqrt(var + eps)``, ``(B, C, 1, 1)`` each, in the precision of ``like``."""
        variance = self._squares / (self._count - correction)
        return self._mean.to(like), variance.add(eps).sqrt().to(like)


def _cut(source: Source, window: Window, factor: int) -> Tensor:
    top, bottom, left, right = (edge * factor for edge in window)
    if isinstance(source, Computed):
        return source.part((top, bottom, left, right))
    return source[..., top:bottom, left:right]
