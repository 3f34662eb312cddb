"""The Chamfer distance between the colours of two pictures, exact and without subsampling."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import check_counts, one_of
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import full_precision, has_float64

Direction = Literal["sum", "half", "preds_to_target", "target_to_preds"]
Space = Literal["rgb", "rgb_unit", "lab"]
Search = Literal["auto", "tree", "matmul"]
CHUNK_BYTES = 2**28


def color_chamfer(
    preds: Tensor,
    target: Tensor,
    *,
    squared: bool = True,
    direction: Direction = "sum",
    space: Space = "rgb",
    quantize: bool = True,
    search: Search = "auto",
) -> Tensor:
    """Return the Chamfer distance of every pair, each picture taken as a cloud of as many colours as it has pixels.

    ``1/|A| sum_a min_b |a - b|^2 + 1/|B| sum_b min_a |a - b|^2``. Exact: equal colours are merged and weighted by how
    often they occur, the nearest ones are found in a KD-tree (on an accelerator in chunks of a matrix product), and for
    8-bit RGB the sums are integers, so neither the order of pixels nor the search changes a bit. Two photographs of n
    pixels take about ``n log n`` time and ``150 n`` bytes.

    Args:
        preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
        target: ``(B, 3, h, w)``, the same; height and width may differ.
        squared: Average the squares of distances, as pytorch3d does, or the distances.
        direction: ``sum`` of both means, ``half`` of that sum, or one of the means alone.
        space: ``rgb`` counts levels of 0..255, ``rgb_unit`` of 0..1; ``lab`` is CIELAB of sRGB under D65, L in 0..100.
        quantize: Round to the 8 bits that a saved picture has. Without, every pixel is a colour of its own.
        search: ``tree`` on the CPU or ``matmul``, which only 8-bit RGB has; ``auto`` takes the one for the device.

    Returns:
        ``(B,)``, float64, at least 0, in (squared) units of the space; exactly 0 for equal sets of colours.

    Raises:
        ImpastoError: If there is no such option, the batches differ in length, a picture is none, or ``matmul`` is
            asked of other colours than 8-bit RGB.

    Source: Fan et al. 2017, eq. 1, with means in place of sums; NeAT, section 5.1 ("normalized by the number of pixels
    in the image"), whose values up to 2617 need squares on 0..255.

    Examples:
        >>> black, grey = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 4, 4), 3 / 255)
        >>> color_chamfer(black, grey)
        tensor([54.], dtype=torch.float64)
        >>> color_chamfer(black, grey, squared=False, direction="half")
        tensor([5.1962], dtype=torch.float64)
    """
    integers = check_options(direction, space, search, quantize=quantize)
    check_counts(preds, target, ("stylized", "style"))
    preds, target = as_pictures(preds, "stylized"), as_pictures(target, "style")
    on_device = integers and (search == "matmul" or (search == "auto" and preds.device.type != "cpu"))
    scale = 255.0 ** (2 if squared else 1) if space == "rgb_unit" else 1.0
    values = []
    for pair in zip(preds, target, strict=True):
        (a, times_a), (b, times_b) = (_palette(image, space, quantize=quantize) for image in pair)
        sides = []
        if direction != "target_to_preds":
            sides.append(_mean_gap(a, times_a, b, squared=squared, on_device=on_device))
        if direction != "preds_to_target":
            sides.append(_mean_gap(b, times_b, a, squared=squared, on_device=on_device))
        values.append(sum(sides) / scale / (2 if direction == "half" else 1))
    device = preds.device if has_float64(preds.device) else "cpu"
    return torch.tensor(values, dtype=torch.float64, device=device)


def check_options(direction: Direction, space: Space, search: Search, *, quantize: bool) -> bool:
    """Return whether colours are integers; arguments as for `color_chamfer`.

    Raises:
        ImpastoError: If there is no such option, or ``matmul`` is asked of other colours than 8-bit RGB.
    """
    one_of(direction, Direction, "direction of the colour Chamfer distance")
    one_of(space, Space, "space of colours")
    one_of(search, Search, "search for the nearest colour")
    integers = quantize and space != "lab"
    if search == "matmul" and not integers:
        raise ImpastoError("The search `matmul` is for colours of 8-bit RGB only: choose `auto` or `tree`.")
    return integers


def _palette(image: Tensor, space: Space, *, quantize: bool) -> tuple[Tensor, Tensor]:
    """Return the colours of ``(3, H, W)`` as ``(n, 3)`` and how many pixels have each, ``(n,)``, int64."""
    pixels = image.detach().flatten(1) * 255
    if quantize:
        red, green, blue = pixels.round().int()
        keys, times = torch.unique(red << 16 | green << 8 | blue, return_counts=True)
        colours = torch.stack((keys >> 16, keys >> 8 & 255, keys & 255), dim=1)
    else:
        colours = pixels.T.cpu().double()
        times = torch.ones(len(colours), dtype=torch.int64)
    if space == "lab":
        from skimage.color import rgb2lab  # slow to import

        colours, times = torch.from_numpy(rgb2lab((colours.cpu().double() / 255).numpy())), times.cpu()
    return colours, times


def _mean_gap(points: Tensor, times: Tensor, goals: Tensor, *, squared: bool, on_device: bool) -> float:
    nearest = _by_matmul(points, goals) if on_device else _by_tree(points, goals)
    # Taken anew from the colours themselves: integers stay integers, and equal colours are exactly 0 apart.
    gaps = (points - goals[nearest]).square().sum(1)
    if squared:
        return float((gaps * times).sum()) / int(times.sum())
    return float((gaps.cpu().double().sqrt() * times.cpu()).sum()) / int(times.sum())


def _by_tree(points: Tensor, goals: Tensor) -> Tensor:
    from scipy.spatial import cKDTree  # slow to import

    tree = cKDTree(goals.cpu().double().numpy(), balanced_tree=False)
    _, nearest = tree.query(points.cpu().double().numpy(), workers=torch.get_num_threads())
    return torch.from_numpy(nearest).to(points.device)


def _by_matmul(points: Tensor, goals: Tensor) -> Tensor:
    # argmin |b|^2 - 2 a.b: levels fit in TF32's 11 bits and every sum below 2^24 in float32, so no digit is lost.
    goals = goals.float()
    squares = goals.square().sum(1)
    with full_precision(goals.device):
        found = [torch.addmm(squares, part, goals.T, alpha=-2).argmin(1) for part in _chunks(points, len(goals))]
    return torch.cat(found)


def _chunks(points: Tensor, width: int) -> Iterator[Tensor]:
    rows = max(1, CHUNK_BYTES // (4 * width))
    for part in points.split(rows):
        yield part.float()
