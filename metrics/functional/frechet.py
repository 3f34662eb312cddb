"""The Fréchet distance of two sets of feature vectors, without a matrix square root."""

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import check_finite, check_maps, check_sets
from metrics.functional.precision import as_float64

BLOCK = 2**22  # numbers that are cast to float64 at a time, 32 MB


def frechet_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared Fréchet distance of the Gaussians through two sets of vectors.

    ``|m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)`` with the unbiased covariances (divided by n - 1). For any
    factors ``S_a = A^T A`` and ``S_b = B^T B`` the last trace is the nuclear norm of ``A B^T``; the factors are the
    centred rows where there are fewer rows than dimensions, and the triangles of their QR decomposition otherwise. So
    no covariance is formed, no condition number squared, rank-deficient sets are exact, and nothing is ever complex.

    Args:
        a: ``(n, D)``, any float type, n >= 2.
        b: ``(m, D)``; m may differ from n.

    Returns:
        A scalar, float64, at least 0, in squared feature units; exactly 0 for equal rows.

    Raises:
        ImpastoError: If a set has fewer than two rows, the dimensions differ, or a number is not finite.

    Source: Heusel et al. 2017, eq. 6; Dowson & Landau 1982.

    Examples:
        >>> x = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
        >>> float(frechet_distance(x, x + 3)), float(frechet_distance(x, x))
        (18.0, 0.0)
    """
    check_sets(a, b)
    return _distance(*_mean_and_factor(a), *_mean_and_factor(b))


def frechet_of_maps(a: Tensor, b: Tensor) -> Tensor:
    """Return `frechet_distance` between the places of two feature maps, for every pair of maps.

    Args:
        a: ``(B, C, H, W)``, any float type, ``H W >= 2``.
        b: ``(B, C, h, w)``; height and width may differ from a's.

    Returns:
        ``(B,)``, float64, at least 0, in squared feature units; exactly 0 for equal maps.

    Raises:
        ImpastoError: If a map has fewer than two places, batches or channels differ, or a number is not finite.

    Source: Rott Shaham et al. 2019, section 3 (single image FID).
    """
    check_maps({"compared": a}, {"compared": b})
    places = (maps.flatten(2).transpose(1, 2) for maps in (a, b))  # B, HW, C
    distances = [frechet_distance(x, y) for x, y in zip(*places, strict=True)]
    return torch.stack(distances) if distances else as_float64(a.new_empty(0))


def frechet_from_moments(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> Tensor:
    """Return `frechet_distance` where only means and covariances are known, such as published statistics.

    The factors come from eigendecompositions; eigenvalues below the rounding error of the largest count as 0.

    Args:
        mean_a: ``(D,)``, any float type.
        covariance_a: ``(D, D)``, symmetric, positive semidefinite up to rounding.
        mean_b: ``(D,)``.
        covariance_b: ``(D, D)``.

    Returns:
        A scalar, float64, at least 0, in squared feature units; exactly 0 for equal moments. Where a covariance is
        rank-deficient, its rounding limits this form to about 1e-8 of the traces; the form from rows has no such limit.

    Raises:
        ImpastoError: If the shapes do not fit each other, or a number is not finite.

    Examples:
        >>> one = torch.eye(2)
        >>> round(float(frechet_from_moments(torch.zeros(2), one, torch.ones(2), 4 * one)), 12)
        4.0
    """
    means, covariances = (mean_a, mean_b), (covariance_a, covariance_b)
    dimensions = len(mean_a)
    if any(m.shape != (dimensions,) for m in means) or any(c.shape != (dimensions, dimensions) for c in covariances):
        shapes = ", ".join(str(tuple(x.shape)) for x in (mean_a, covariance_a, mean_b, covariance_b))
        raise ImpastoError(f"Means and covariances must be (D,), (D, D), (D,) and (D, D), got {shapes}.")
    for moment in (*means, *covariances):
        check_finite(moment, "moment of these features")
    return _distance(as_float64(mean_a), _root(covariance_a), as_float64(mean_b), _root(covariance_b))


def moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean ``(D,)`` and unbiased covariance ``(D, D)`` of rows ``(n, D)``, float64.

    Raises:
        ImpastoError: If there are fewer than two rows, or a number is not finite.
    """
    mean, factor = _mean_and_factor(rows)
    return mean, factor.T @ factor


def _distance(mean_a: Tensor, factor_a: Tensor, mean_b: Tensor, factor_b: Tensor) -> Tensor:
    between = (mean_a - mean_b).square().sum()
    if torch.equal(factor_a, factor_b):
        return between
    overlap = torch.linalg.svdvals(factor_a @ factor_b.T).sum()
    spread: Tensor = factor_a.square().sum() + factor_b.square().sum() - 2 * overlap
    return between + spread.clamp(min=0)  # it is the square of a distance; only rounding can leave it below


def _mean_and_factor(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean ``(D,)`` and a factor ``(min(n, D), D)`` whose Gram matrix is the covariance, float64."""
    count, dimensions = rows.shape
    if count < 2:
        raise ImpastoError(f"A Fréchet distance needs at least 2 feature vectors on either side, got {count}.")
    check_finite(rows, "number of these features")  # LAPACK would say that an algorithm failed to converge
    block = max(BLOCK // dimensions, 2 * dimensions)
    mean = torch.stack([as_float64(part).sum(0) for part in rows.split(block)]).sum(0) / count
    scale = (count - 1) ** -0.5
    if count <= dimensions:
        return mean, (as_float64(rows) - mean) * scale
    factor = mean.new_empty(0, dimensions)
    for part in rows.split(block):  # a QR of the triangle so far and the next rows: the whole set is never in float64
        factor = torch.linalg.qr(torch.cat([factor, (as_float64(part) - mean) * scale]), mode="r").R
    return mean, factor


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(as_float64(covariance))
    kept = values > values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    factor: Tensor = values[kept].sqrt()[:, None] * vectors[:, kept].T  # rank, D
    return factor
