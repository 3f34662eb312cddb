"""How far a mean or a share may be off: the percentile bootstrap of a mean, Wilson's interval of a share."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError

CELLS = 2**22
"""Weights held at once: resamples are taken in parts of so many."""


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def bootstrap_interval(
    values: Tensor, *, groups: Sequence[Tensor] = (), resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """Return the percentile bootstrap interval of a mean.

    Without groups the values themselves are drawn with replacement. With one grouping, whole groups are: values that
    share a picture are not independent, and an interval that takes them so is too narrow. With two, such as contents
    and styles of which every pair has a value, both are drawn apart, and a pair counts as often as its content times
    its style was drawn.

    Args:
        values: ``(N,)``, any float type; those that are nan are left out, with their group.
        groups: For each grouping ``(N,)``, int64, which group a value belongs to.
        resamples: How many means the percentiles are of, at least 1.
        level: Share of them inside, in (0, 1).
        seed: Of the draws; no other random number is touched.

    Returns:
        The interval; None where there are fewer than two values, or a grouping has fewer than two groups.

    Raises:
        ImpastoError: If a number is out of range, or a grouping does not fit the values.

    Source: Efron & Tibshirani 1993, chapter 13; Owen 2007 for two groupings ("the pigeonhole bootstrap").

    Examples:
        >>> low, high = bootstrap_interval(torch.arange(101.0))
        >>> low < 50 < high
        True
        >>> bootstrap_interval(torch.ones(4), groups=[torch.zeros(4, dtype=torch.int64)]) is None
        True
    """
    if resamples < 1 or not 0 < level < 1:
        raise ImpastoError(f"A bootstrap takes 1 resample or more and a level in (0, 1), not {resamples} and {level}.")
    if any(group.shape != values.shape for group in groups):
        raise ImpastoError(f"Every grouping names one group for each of the {len(values)} values.")
    known = ~values.isnan()
    values = values[known].double().cpu()
    labels = [group[known].cpu() for group in groups] or [torch.arange(len(values))]
    dense = [label.unique(return_inverse=True)[1] for label in labels]
    sizes = [int(label.max()) + 1 if len(label) else 0 for label in dense]
    if min(sizes) < 2:
        return None
    generator = torch.Generator().manual_seed(seed)
    part = max(1, CELLS // len(values))
    parts = [min(part, resamples - start) for start in range(0, resamples, part)]
    means = torch.cat([_means(values, dense, sizes, count, generator) for count in parts])
    tail = (1 - level) / 2
    ends = means.nanquantile(torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return Interval(*ends.tolist())


def wilson_interval(hits: float, count: int, level: float = 0.95) -> Interval | None:
    """Return Wilson's interval of a share, which is inside [0, 1] and holds for few votes, too.

    Args:
        hits: How many of them, in [0, ``count``]; votes that are shared count in parts.
        count: How many there were.
        level: Of confidence, in (0, 1).

    Returns:
        The interval; None where there was nothing.

    Raises:
        ImpastoError: If a number is out of range.

    Source: Wilson 1927, equation 1.

    Examples:
        >>> low, high = wilson_interval(0, 10)
        >>> round(low, 4), round(high, 4)
        (0.0, 0.2775)
    """
    if not 0 <= hits <= count or not 0 < level < 1:
        raise ImpastoError(f"A share is of 0 to {count} hits, at a level in (0, 1), not of {hits} at {level}.")
    if not count:
        return None
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = hits / count, z * z / count
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * (share * (1 - share) / count + weight / (4 * count)) ** 0.5
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def _means(
    values: Tensor, labels: Sequence[Tensor], sizes: Sequence[int], count: int, generator: torch.Generator
) -> Tensor:
    """Return the means of resamples, ``(count,)``; nan where nothing was drawn of both groupings at once."""
    weights = torch.ones(count, len(values), dtype=torch.float64)
    for label, size in zip(labels, sizes, strict=True):
        drawn = torch.randint(size, (count, size), generator=generator)
        times = torch.zeros(count, size, dtype=torch.float64).scatter_add_(
            1, drawn, torch.ones(1).double().expand_as(drawn)
        )
        weights *= times[:, label]
    return (weights @ values) / weights.sum(1)
