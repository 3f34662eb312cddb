"""How sure a mean over seeds is, and a difference of two: pairs and seeds are both drawn, and both count."""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import t as student
from torch import Tensor

from experiments.leaderboard.records import UNITS, Record
from experiments.report.records import Measurement
from metrics.functional.intervals import Interval, bootstrap_interval

LEVEL = 0.95
SHARE = re.compile("deception|named|accuracy|iou")
"""Metrics that are shares of pictures or pixels: their intervals end where shares do."""
Reaches = tuple[float, float]
"""How far an interval reaches below and above its middle."""


@dataclass(frozen=True)
class Difference:
    """How far one contestant is above another.

    Attributes:
        mean: Of the first minus the second.
        low: Lower end of its interval; None where nobody knows it: a training has one seed, so how seeds differ is
            unknown, or neither seeds nor pairs have been drawn.
        high: Upper end.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def sure(self) -> bool:
        """Tell whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def over_seeds(records: Sequence[Record], key: str) -> Measurement | None:
    """Return the mean over seeds and pairs, with an interval that has both in it.

    Of several seeds the interval's two parts are Student's of the seeds' means and the bootstrap's of the pairs'
    values, themselves means over seeds. They are independent, so their reaches add up as squares do. Of one seed it is
    the pairs' alone.

    Args:
        records: Of one contestant.
        key: Of the metric.

    Returns:
        ``n`` is the number of seeds; None where nothing was measured.

    Source: Zou & Donner 2008 for the sum of two intervals (MOVER).
    """
    measured = [record for record in records if key in record.metrics]
    if not measured:
        return None
    means = [float(record.metrics[key]["mean"]) for record in measured]
    mean = statistics.fmean(means)
    spread = statistics.stdev(means) if len(means) > 1 else None
    parts = [_pairs(measured, key, mean)]
    if spread is not None:
        parts.append(_symmetrical(_student(spread**2 / len(means), len(means) - 1)))
    reach = _added([part for part in parts if part is not None])
    low, high = (None, None) if reach is None else (mean - reach[0], mean + reach[1])
    if low is not None and high is not None and SHARE.search(key):
        low, high = max(low, 0.0), min(high, 1.0)
    return Measurement(mean, low, high, spread, len(means))


def difference(first: Sequence[Record], second: Sequence[Record], key: str) -> Difference | None:
    """Return how far one contestant is above another, on the pairs that have a value of both.

    A pair's content and style move both alike, so the bootstrap draws the pairs' differences; Welch's interval of the
    seeds' means is added as in `over_seeds`. A metric of sets whose evaluation drew nothing has that one alone.

    Args:
        first: Records of one contestant.
        second: Of another in the same section.
        key: Of the metric.

    Returns:
        None where one of them was not measured.
    """
    sides = [[record for record in records if key in record.metrics] for records in (first, second)]
    if not all(sides):
        return None
    means = [[float(record.metrics[key]["mean"]) for record in side] for side in sides]
    gaps = _gaps(sides, key)
    middle = statistics.fmean(means[0]) - statistics.fmean(means[1])
    if gaps is not None and gaps.isnan().any():
        middle = float(gaps.nanmean())  # a mean of other pairs would compare what was painted with something else
    if any(len(side) < 2 and side[0].about.get("training") is not None for side in sides):
        return Difference(middle, None, None)
    pairs = _own(sides, key) if gaps is None else _around(middle, _bootstrap(gaps, sides[0][0]))
    seeds = _symmetrical(_welch(means)) if any(len(side) > 1 for side in means) else None
    reach = _added([part for part in (seeds, pairs) if part is not None])
    return Difference(middle, None, None) if reach is None else Difference(middle, middle - reach[0], middle + reach[1])


def values_of(records: Sequence[Record], key: str) -> Tensor | None:
    """Return the values of all pairs, each the mean over seeds, ``(pairs,)``; None where there are none."""
    rows = [record.pairs[key] for record in records if key in record.pairs]
    if len(rows) < len(records) or len({len(row) for row in rows}) != 1:
        return None
    return torch.tensor([[math.nan if v is None else v for v in row] for row in rows], dtype=torch.float64).mean(0)


def _pairs(records: Sequence[Record], key: str, mean: float) -> Reaches | None:
    """Return the reaches that pairs give; of a metric of sets the mean of what its evaluations have said."""
    values = values_of(records, key)
    if values is not None:
        return _around(mean, _bootstrap(values, records[0]))
    ends = [
        (record.metrics[key]["mean"], record.metrics[key]["low"], record.metrics[key]["high"]) for record in records
    ]
    if any(low is None for _, low, _ in ends):
        return None
    return (
        statistics.fmean(middle - low for middle, low, _ in ends),
        statistics.fmean(high - middle for middle, _, high in ends),
    )


def _gaps(sides: Sequence[Sequence[Record]], key: str) -> Tensor | None:
    """Return how far the first is above the second on every pair, ``(pairs,)``; None of a metric of sets."""
    first, second = (values_of(side, key) for side in sides)
    if first is None or second is None or len(first) != len(second):
        return None
    return first - second


def _own(sides: Sequence[Sequence[Record]], key: str) -> Reaches | None:
    """Return the reaches of a difference from both sides' own, as if they were independent."""
    own = [_pairs(side, key, statistics.fmean(float(r.metrics[key]["mean"]) for r in side)) for side in sides]
    if own[0] is None or own[1] is None:
        return None
    return _added([own[0], own[1][::-1]])  # what is high of the second makes the difference low


def _bootstrap(values: Tensor, record: Record) -> Interval | None:
    groups = [torch.tensor(list(record.pairs[unit])) for unit in UNITS if unit in record.pairs]
    return bootstrap_interval(values, groups=groups, level=LEVEL)


def _around(middle: float, interval: Interval | None) -> Reaches | None:
    """Return how far an interval reaches; the middle may lie outside of it by chance, and then that side is 0."""
    return None if interval is None else (max(0.0, middle - interval.low), max(0.0, interval.high - middle))


def _added(parts: Sequence[Reaches]) -> Reaches | None:
    if not parts:
        return None
    return math.hypot(*(low for low, _ in parts)), math.hypot(*(high for _, high in parts))


def _symmetrical(reach: float) -> Reaches:
    return reach, reach


def _student(variance: float, freedom: float) -> float:
    """Return the reach of Student's interval of a mean, from the mean's variance."""
    return float(student.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)


def _welch(means: Sequence[Sequence[float]]) -> float:
    """Return the reach of Welch's interval; who has one seed and no training has no variance."""
    parts = [(statistics.variance(side) / len(side), len(side) - 1) for side in means if len(side) > 1]
    total = sum(variance for variance, _ in parts)
    if not total:
        return 0.0
    return _student(total, total**2 / sum(variance**2 / freedom for variance, freedom in parts))
