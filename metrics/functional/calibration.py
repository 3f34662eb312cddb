"""Whether probabilities mean what they say: of the pictures that get 0.8, four in five should be of that kind."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from metrics.functional.precision import as_float64

COLDEST, HOTTEST = 0.05, 20.0
STEPS = 60  # halvings of the interval


class Reliability(NamedTuple):
    """Bins of equal width over [0, 1].

    Attributes:
        predicted: Mean probability in every bin, ``(bins,)``; nan where it is empty.
        found: Share of the first kind in every bin, ``(bins,)``; nan where it is empty.
        samples: How many are in every bin, ``(bins,)``, int64.
    """

    predicted: Tensor
    found: Tensor
    samples: Tensor


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 10) -> Reliability:
    """Sort samples into bins by their probability.

    Args:
        probabilities: Of the first kind, ``(N,)`` in [0, 1].
        labels: 1 for the first kind, 0 for the second, ``(N,)``.
        bins: Number of bins.

    Examples:
        >>> reliability(torch.tensor([0.1, 0.9, 0.8]), torch.tensor([0, 1, 0]), bins=2).samples.tolist()
        [1, 2]
    """
    probabilities, labels = as_float64(probabilities), as_float64(labels)
    place = (probabilities * bins).long().clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    sums = [torch.bincount(place, weights=values, minlength=bins) for values in (probabilities, labels)]
    predicted, found = (torch.where(count > 0, total / count.clamp_min(1), torch.nan) for total in sums)
    return Reliability(predicted, found, count)


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 10) -> Tensor:
    """Return by how much probabilities and shares differ, as a mean over samples, in [0, 1].

    ``ECE = sum_b n_b / N |mean p_b - mean y_b|``

    Args:
        probabilities: As of `reliability`.
        labels: As of `reliability`.
        bins: As of `reliability`.

    Source: Naeini et al. 2015; Guo et al. 2017, eq. 3, of the probability of one kind.
    """
    table = reliability(probabilities, labels, bins)
    gaps = (table.predicted - table.found).abs().nan_to_num()
    return (gaps * table.samples).sum() / table.samples.sum().clamp_min(1)


def temperature_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the T for which ``sigmoid(logits / T)`` explains the labels best, between 0.05 and 20.

    The labels are drawn in a little, to ``(n1 + 1) / (n1 + 2)`` and ``1 / (n0 + 2)``: where every sample is on its
    side, the best T would else be 0, and every picture certain.

    Args:
        logits: ``(N,)``, finite.
        labels: 1 or 0, ``(N,)``.

    Source: Guo et al. 2017, section 4.2; the targets are those of Platt 1999, section 2.2.
    """
    logits, labels = as_float64(logits), as_float64(labels)
    ones, zeros = labels.sum(), (1 - labels).sum()
    targets = torch.where(labels > 0.5, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    low, high = 1 / HOTTEST, 1 / COLDEST  # the loss is convex in 1 / T, and its slope rises
    for _ in range(STEPS):
        middle = (low + high) / 2
        slope = ((torch.sigmoid(middle * logits) - targets) * logits).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return torch.as_tensor(2 / (low + high), dtype=logits.dtype, device=logits.device)


def log_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of ``-log p`` of what is true, in nats; both ``(N,)``."""
    return F.binary_cross_entropy_with_logits(as_float64(logits), as_float64(labels))
