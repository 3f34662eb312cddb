"""How alike the style vectors of two sets of pictures are, in the three conventions that share one name."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import check_finite, check_sets, one_of
from metrics.functional.precision import as_float64

StyleForm = Literal["mean_cosine", "mean_to_mean", "pairwise"]
FORMS: tuple[StyleForm, ...] = get_args(StyleForm)


def style_similarity(generated: Tensor, reference: Tensor, form: StyleForm = "mean_cosine") -> Tensor:
    """Return how alike the style vectors of two sets are.

    With unit vectors ``g_i`` and ``r_j`` and their means ``g`` and ``r``:

    - ``mean_cosine``: ``mean_i cos(g_i, r) = g.r / |r|``, every generated picture against the mean style (NSYNC);
    - ``mean_to_mean``: ``cos(g, r) = g.r / (|g| |r|)``, mean against mean (the authors of CSD);
    - ``pairwise``: ``mean_ij cos(g_i, r_j) = g.r``.

    One data set gave 0.46, 0.92 and 0.28: never compare numbers of different forms.

    Args:
        generated: ``(n, D)``, any float type, any length of the vectors.
        reference: ``(m, D)``.
        form: The convention.

    Returns:
        A scalar in [-1, 1], float64. Exactly 1 for equal sets under ``mean_to_mean``; the others reach 1 only where all
        vectors of a set agree. nan where a set is empty.

    Raises:
        ImpastoError: If the dimensions differ, a number is not finite, or there is no such form.

    Source: Somepalli et al. 2024 (the vectors); the forms are those of the papers and threads named above.

    Examples:
        >>> x = torch.eye(2)
        >>> [round(float(style_similarity(x, x, form)), 4) for form in ("mean_cosine", "mean_to_mean", "pairwise")]
        [0.7071, 1.0, 0.5]
    """
    one_of(form, StyleForm, "form of style similarity")
    check_sets(generated, reference)
    sums = [unit_vectors(rows).sum(0) for rows in (generated, reference)]
    counts = [torch.tensor(len(rows), device=sums[0].device) for rows in (generated, reference)]
    return similarity_of_sums(sums[0], counts[0], sums[1], counts[1], form)


def similarity_of_sums(
    generated: Tensor, n: Tensor, reference: Tensor, m: Tensor, form: StyleForm = "mean_cosine"
) -> Tensor:
    """Return `style_similarity` from sums of unit vectors, which is all that any of its forms needs.

    Args:
        generated: ``(..., D)``, the sum of the generated pictures' unit vectors, float64; leading dimensions are
            independent pairs of sets, such as artists.
        n: ``(...)``, how many they are.
        reference: ``(..., D)``.
        m: ``(...)``.
        form: The convention.

    Returns:
        ``(...)``, in [-1, 1], float64; nan where a set is empty.

    Raises:
        ImpastoError: If there is no such form, or the sums differ in shape.
    """
    one_of(form, StyleForm, "form of style similarity")
    if generated.shape != reference.shape:
        shapes = f"{tuple(generated.shape)} and {tuple(reference.shape)}"
        raise ImpastoError(f"Sums of style vectors must have one shape on both sides, got {shapes}.")
    inner = (generated * reference).sum(-1)
    length_g, length_r = generated.square().sum(-1), reference.square().sum(-1)  # squared
    if form == "mean_to_mean":
        below = (length_g * length_r).sqrt()  # of the product: the root of a square is exact
    elif form == "mean_cosine":
        below = n * length_r.sqrt()
    else:
        below = (n * m).to(inner.dtype)
    # A sum of length 0 is opposite vectors that cancel: no direction, hence alike to nothing.
    similarity = torch.where((below == 0) & (n * m > 0), 0.0, inner / below)
    return similarity.clamp(-1, 1)


def unit_vectors(rows: Tensor) -> Tensor:
    """Return rows ``(n, D)`` at unit length, float64; zero rows stay zero.

    Raises:
        ImpastoError: If a number is nan or infinite.
    """
    return F.normalize(check_finite(as_float64(rows), "number of a style vector"), dim=-1)
