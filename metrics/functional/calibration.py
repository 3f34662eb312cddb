"""Whether probabilities mean what they say: of the pictures that get 0.8, four in five should be of that kind.

Samples may have weights: `balanced` counts two kinds alike, of which there are rarely as many.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metrics.functional.precision import as_float64

COLDEST, HOTTEST = 0.05, 20.0
FARTHEST = 50.0
"""Largest shift."""
STEPS = 50  # halvings of an interval


class Reliability(NamedTuple):
    """Bins of equal width over [0, 1].

    Attributes:
        predicted: Mean probability in every bin, ``(bins,)``; nan where it is empty.
        found: Share of the first kind in every bin, ``(bins,)``; nan where it is empty.
        mass: Sum of the weights in every bin, ``(bins,)``.
    """

    predicted: Tensor
    found: Tensor
    mass: Tensor


def balanced(labels: Tensor) -> Tensor:
    """Return weights ``(N,)`` that sum up to one half over either kind, and to 1 where there is one kind only.

    Examples:
        >>> balanced(torch.tensor([1, 1, 0])).tolist()
        [0.25, 0.25, 0.5]
    """
    labels = as_float64(labels)
    ones = (labels > 0.5).sum()
    counts = torch.where(labels > 0.5, ones, len(labels) - ones)
    kinds = int(ones > 0) + int(ones < len(labels))
    return 1 / as_float64(counts * max(kinds, 1))


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 10, weights: Tensor | None = None) -> Reliability:
    """Sort samples into bins by their probability.

    Args:
        probabilities: Of the first kind, ``(N,)`` in [0, 1].
        labels: 1 for the first kind, 0 for the second, ``(N,)``.
        bins: Number of bins.
        weights: Of the samples, ``(N,)``; None counts all alike.

    Examples:
        >>> reliability(torch.tensor([0.1, 0.9, 0.8]), torch.tensor([0, 1, 0]), bins=2).mass.tolist()
        [1.0, 2.0]
    """
    probabilities, labels = as_float64(probabilities), as_float64(labels)
    weights = torch.ones_like(probabilities) if weights is None else as_float64(weights)
    place = (probabilities * bins).long().clamp(0, bins - 1)
    mass, predicted, found = (
        torch.bincount(place, weights=weights * values, minlength=bins)
        for values in (torch.ones_like(probabilities), probabilities, labels)
    )
    return Reliability(predicted / mass, found / mass, mass)


def expected_calibration_error(
    probabilities: Tensor, labels: Tensor, bins: int = 10, weights: Tensor | None = None
) -> Tensor:
    """Return by how much probabilities and shares differ, as a mean over samples, in [0, 1].

    ``ECE = sum_b n_b / N |mean p_b - mean y_b|``

    Args:
        probabilities: As of `reliability`.
        labels: As of `reliability`.
        bins: As of `reliability`.
        weights: As of `reliability`.

    Source: Naeini et al. 2015; Guo et al. 2017, eq. 3, of the probability of one kind.
    """
    table = reliability(probabilities, labels, bins, weights)
    gaps = (table.predicted - table.found).abs().nan_to_num()
    return (gaps * table.mass).sum() / table.mass.sum()


def platt_scaling(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> tuple[float, float]:
    """Return the T and b for which ``sigmoid(logits / T + b)`` explains the labels best, T between 0.05 and 20.

    The labels are drawn in a little, to ``(n1 + 1) / (n1 + 2)`` and ``1 / (n0 + 2)``: where every sample is on its
    side, the best T would else be 0, and every picture certain.

    Args:
        logits: ``(N,)``, finite.
        labels: 1 or 0, ``(N,)``.
        weights: Of the samples, ``(N,)``; None counts all alike.

    Source: Platt 1999, section 2.2; with a temperature in the place of the slope, Guo et al. 2017, section 4.2.
    """
    logits, labels = as_float64(logits), as_float64(labels)
    weights = torch.ones_like(logits) if weights is None else as_float64(weights)
    ones, zeros = labels.sum(), (1 - labels).sum()
    targets = torch.where(labels > 0.5, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def off(slope: float, bias: float) -> Tensor:
        return weights * (torch.sigmoid(slope * logits + bias) - targets)

    def bias_for(slope: float) -> float:
        return _root(lambda bias: float(off(slope, bias).sum()), -FARTHEST, FARTHEST)

    # The loss is convex, and so is its minimum over b as a function of 1 / T, whose slope this is.
    slope = _root(lambda slope: float((off(slope, bias_for(slope)) * logits).sum()), 1 / HOTTEST, 1 / COLDEST)
    return 1 / slope, bias_for(slope)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero, or the end that is nearest to that."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
