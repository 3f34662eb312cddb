"""Run a convolutional network over a large picture tile by tile, with the result of one pass."""

from collections.abc import Callable, Sequence

from torch import Tensor

Window = tuple[int, int, int, int]


def in_tiles(
    network: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor],
    cells: tuple[int, int],
    *,
    tile: int,
    halo: int,
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
    rows, columns = cells
    results: list[Tensor] = []
    for top in range(0, rows, tile):
        for left in range(0, columns, tile):
            inner = (top, min(rows, top + tile), left, min(columns, left + tile))
            outer = (
                max(0, inner[0] - halo),
                min(rows, inner[1] + halo),
                max(0, inner[2] - halo),
                min(columns, inner[3] + halo),
            )
            parts = network(*(_cut(tensor, outer, tensor.shape[-2] // rows) for tensor in inputs))
            factors = [part.shape[-2] // (outer[1] - outer[0]) for part in parts]
            if not results:
                results = [
                    part.new_empty(*part.shape[:2], rows * factor, columns * factor)
                    for part, factor in zip(parts, factors, strict=True)
                ]
            kept = (inner[0] - outer[0], inner[1] - outer[0], inner[2] - outer[2], inner[3] - outer[2])
            for result, part, factor in zip(results, parts, factors, strict=True):
                _cut(result, inner, factor).copy_(_cut(part, kept, factor))
    return results


def _cut(tensor: Tensor, window: Window, factor: int) -> Tensor:
    top, bottom, left, right = (edge * factor for edge in window)
    return tensor[..., top:bottom, left:right]
