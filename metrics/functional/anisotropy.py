"""Do marks run along rows or along columns?"""

import torch
from torch import Tensor

from metrics.functional.pictures import as_pictures
from metrics.functional.precision import as_float64

EMPTY = 1e-8  # mean square of differences that 8 bits cannot show


def anisotropy(images: Tensor) -> Tensor:
    """Return the logarithm of the energy of gradients along rows over that along columns.

    ``ln(sum (dI/dx)^2 / sum (dI/dy)^2)`` over all pixels and channels, of differences between neighbours. Marks that
    run along rows, such as the streaks of a scan, change from row to row: they give negative values, columns positive
    ones; 0 is a picture without a direction. A picture of one colour has none either, and gives 0.

    Args:
        images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8; at least 2 pixels a side.

    Returns:
        ``(B,)``, float64, without unit.

    Raises:
        ImpastoError: If shape, type or range is wrong.

    Examples:
        >>> rows = torch.tensor([0.0, 1.0]).repeat(8)[:, None].expand(16, 16)
        >>> bool(anisotropy(rows.expand(1, 3, 16, 16)) < -10)
        True
    """
    pictures = as_float64(as_pictures(images, "measured", 2))
    along_rows, along_columns = (pictures.diff(dim=axis).square().mean((1, 2, 3)) for axis in (3, 2))
    return torch.log((along_rows + EMPTY) / (along_columns + EMPTY))


def relative_anisotropy(images: Tensor, reference: Tensor) -> Tensor:
    """Return how many times as directed pictures are as the reference ones, at least 1.

    ``exp |mean_i a(x_i) - mean_j a(r_j)|`` with `anisotropy` a: 1.3 means that the energy of gradients along rows and
    along columns is in a ratio that is 1.3 times another one, whichever way. Meant for pictures that were stylised from
    contents of one colour, where nothing but the method gives marks a direction, beside the same artist's paintings.

    Args:
        images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
        reference: ``(R, 3, h, w)`` alike.

    Returns:
        A scalar, float64, without unit.

    Raises:
        ImpastoError: If shape, type or range is wrong.
    """
    return (anisotropy(images).mean() - anisotropy(reference).mean()).abs().exp()
