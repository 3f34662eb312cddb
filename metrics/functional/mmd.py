"""Maximum mean discrepancy of two sets of feature vectors, over all pairs, block by block."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import check_finite, check_sets
from metrics.functional.precision import as_float64

BLOCK = 2**23  # kernel values held at a time, 64 MB
CMMD_SIGMA = 10.0
CMMD_SCALE = 1000.0

Kernel = Callable[[Tensor, Tensor], Tensor]


class KernelSums(NamedTuple):
    """How much every vector has in common with the others.

    Attributes:
        aa: ``(n,)``: for every row of a, the kernel summed over the other rows of a.
        bb: ``(m,)``: the same of b.
        ab: ``(n,)``: for every row of a, summed over all rows of b.
        ba: ``(m,)``: for every row of b, summed over all rows of a.
    """

    aa: Tensor
    bb: Tensor
    ab: Tensor
    ba: Tensor


def kernel_inception_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the unbiased squared MMD under the cubic kernel ``k(x, y) = (x.y / D + 1)^3``.

    ``sum_{i != j} k(a_i, a_j) / (n (n - 1)) + sum_{i != j} k(b_i, b_j) / (m (m - 1)) - 2 sum_ij k(a_i, b_j) / (n m)``
    over the whole sets: published tools average 100 random subsets of 1000, which estimates this number with noise.

    Args:
        a: ``(n, D)``, any float type, n >= 2.
        b: ``(m, D)``; m may differ from n.

    Returns:
        A scalar, float64. Unbiased, so below 0 for about half of all pairs of sets from one distribution, and always
        below 0 for a set and itself.

    Raises:
        ImpastoError: If a set has fewer than two rows, the dimensions differ, or a number is not finite.

    Source: Bińkowski et al. 2018, section 4.

    Examples:
        >>> zeros, ones = torch.zeros(3, 2), torch.ones(4, 2)
        >>> float(kernel_inception_distance(zeros, ones))  # 1 + 2^3 - 2
        7.0
    """
    return unbiased(kernel_sums(a, b, cubic_kernel))


def kernel_inception_jackknife(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `kernel_inception_distance` and its standard error by the two-sample jackknife.

    ``var = (n - 1)/n sum_i (t_i - mean t)^2 + (m - 1)/m sum_j (u_j - mean u)^2``, where ``t_i`` is the distance without
    ``a_i`` and ``u_j`` the one without ``b_j``. All of them follow from the sums of the one pass.

    Args:
        a: ``(n, D)``, any float type, n >= 3.
        b: ``(m, D)``, m >= 3.

    Returns:
        Distance and standard error, float64 scalars.

    Raises:
        ImpastoError: If a set has fewer than three rows, the dimensions differ, or a number is not finite.

    Source: Arvesen 1969 (jackknifing U-statistics of two samples).
    """
    sums = kernel_sums(a, b, cubic_kernel)
    if min(len(sums.aa), len(sums.bb)) < 3:
        raise ImpastoError(f"A jackknife needs at least 3 pictures on either side, got {len(a)} and {len(b)}.")
    variance = _leave_one_out(sums) + _leave_one_out(KernelSums(sums.bb, sums.aa, sums.ba, sums.ab))
    return unbiased(sums), variance.sqrt()


def kernel_inception_subsets(a: Tensor, b: Tensor, subsets: int = 100, size: int = 1000, seed: int = 0) -> Tensor:
    """Return `kernel_inception_distance` of random subsets, as published tools do; their spread is called KID's std.

    Subsets are drawn without replacement by a generator of their own, so every rank and every call draws the same.

    Args:
        a: ``(n, D)``, any float type, n >= 2.
        b: ``(m, D)``, m >= 2.
        subsets: How many.
        size: Vectors of either side in a subset; all of the smaller set where that has fewer.
        seed: Of the generator.

    Returns:
        ``(subsets,)``, float64. Where both sets have ``size`` vectors or fewer, all values are nearly the same and
        their spread means nothing: take `kernel_inception_jackknife`.

    Raises:
        ImpastoError: If a set has fewer than two rows, the dimensions differ, or a number is not finite.

    Source: Bińkowski et al. 2018, section 4; torch-fidelity's defaults.
    """
    if subsets < 1 or size < 2:
        raise ImpastoError(f"KID needs at least 1 subset of at least 2 pictures, not {subsets} of {size}.")
    generator = torch.Generator().manual_seed(seed)
    size = min(size, len(a), len(b))
    values = []
    for _ in range(subsets):
        chosen = [rows[torch.randperm(len(rows), generator=generator)[:size].to(rows.device)] for rows in (a, b)]
        values.append(kernel_inception_distance(*chosen))
    return torch.stack(values)


def clip_maximum_mean_discrepancy(
    a: Tensor, b: Tensor, *, biased: bool = True, sigma: float = CMMD_SIGMA, scale: float = CMMD_SCALE
) -> Tensor:
    """Return the squared MMD of directions under the Gaussian kernel ``exp(-|x - y|^2 / (2 sigma^2))``, times 1000.

    Rows are brought to unit length first. At sigma = 10 the kernel of unit vectors lies between 0.98 and 1, so
    ``k - 1`` is summed instead (the ones cancel), by ``expm1``: summing k itself loses two digits and more. The result
    is close to ``1000 / sigma^2 |mean a - mean b|^2``.

    Args:
        a: ``(n, D)``, any float type, not zero; n >= 1, or 2 for the unbiased form.
        b: ``(m, D)``; m may differ from n.
        biased: Count every vector's similarity to itself, as the paper's code does. That adds about 4/n for each set,
            which drowns differences between sets of tens of pictures.
        sigma: Of the kernel.
        scale: Multiplies the result.

    Returns:
        A scalar, float64. Biased: at least 0, exactly 0 for equal rows. Unbiased: may be below 0.

    Raises:
        ImpastoError: If a set has too few rows, the dimensions differ, or a number is not finite.

    Source: Jayasumana et al. 2024, section 4 (which prints the unbiased form; the published code is biased).

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> float(clip_maximum_mean_discrepancy(x, x))
        0.0
    """
    sums = kernel_sums(_unit(a), _unit(b), lambda x, y: _gaussian_minus_one(x, y, sigma), fewest=1 if biased else 2)
    if not biased:
        return scale * unbiased(sums)
    if a.shape == b.shape and torch.equal(a, b):
        return sums.aa.new_zeros(())
    n, m = len(sums.aa), len(sums.bb)
    # k - 1 is 0 for a vector and itself, so the sums over the others are the sums over all.
    value = sums.aa.sum() / n**2 + sums.bb.sum() / m**2 - 2 * sums.ab.sum() / (n * m)
    return scale * value.clamp(min=0)  # the square of a norm; only rounding can leave it below


def kernel_sums(a: Tensor, b: Tensor, kernel: Kernel, fewest: int = 2) -> KernelSums:
    """Sum a kernel over all pairs, in float64, one block of kernel values in memory at a time.

    Args:
        a: ``(n, D)``, any float type.
        b: ``(m, D)``.
        kernel: ``(x (p, D), y (q, D)) -> (p, q)``, symmetric.
        fewest: Rows that either set must have.

    Raises:
        ImpastoError: If a set has too few rows, the dimensions differ, or a number is not finite.
    """
    check_sets(a, b)
    if min(len(a), len(b)) < fewest:
        raise ImpastoError(f"The distance needs at least {fewest} pictures on either side, got {len(a)} and {len(b)}.")
    a, b = (check_finite(as_float64(rows), "number of these features") for rows in (a, b))
    ab, ba = a.new_zeros(len(a)), b.new_zeros(len(b))
    step = max(1, BLOCK // len(b))
    for start in range(0, len(a), step):
        block = kernel(a[start : start + step], b)
        ab[start : start + step] = block.sum(1)
        ba += block.sum(0)
    return KernelSums(_sums_within(a, kernel), _sums_within(b, kernel), ab, ba)


def unbiased(sums: KernelSums) -> Tensor:
    """Return the unbiased squared MMD, a scalar; either set has at least two rows."""
    n, m = len(sums.aa), len(sums.bb)
    return sums.aa.sum() / (n * (n - 1)) + sums.bb.sum() / (m * (m - 1)) - 2 * sums.ab.sum() / (n * m)


def cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return ``(x.y / D + 1)^3`` for all pairs, ``(p, q)``."""
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def _gaussian_minus_one(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    squared = (x @ y.T).mul_(-2).add_(x.square().sum(1)[:, None]).add_(y.square().sum(1))  # p, q
    return squared.clamp_(min=0).div_(-2 * sigma**2).expm1_()


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(as_float64(rows), dim=-1)


def _sums_within(rows: Tensor, kernel: Kernel) -> Tensor:
    sums = rows.new_zeros(len(rows))
    step = max(1, BLOCK // len(rows))
    for start in range(0, len(rows), step):
        block = kernel(
            rows[start : start + step], rows[start:]
        )  # the kernel is symmetric: nothing left of the diagonal
        block.diagonal().zero_()
        sums[start : start + step] += block.sum(1)
        sums[start + step :] += block[:, step:].sum(0)
    return sums


def _leave_one_out(sums: KernelSums) -> Tensor:
    """Return the first set's share of the jackknife's variance."""
    n, m = len(sums.aa), len(sums.bb)
    within = (sums.aa.sum() - 2 * sums.aa) / ((n - 1) * (n - 2))
    between = (sums.ab.sum() - sums.ab) / ((n - 1) * m)
    without = within - 2 * between  # n; what b has within itself is the same for all of them
    return (n - 1) / n * (without - without.mean()).square().sum()
