import numpy as np
import pytest
import torch
from scipy import stats

from lightning_modules.errors import ImpastoError
from metrics.functional import intervals
from metrics.functional.intervals import bootstrap_interval, wilson_interval


@pytest.fixture
def values():
    return torch.from_numpy(np.random.default_rng(0).gamma(2, size=80))


def test_the_bootstrap_is_that_of_scipy(values):
    sample = (values.numpy(),)
    reference = stats.bootstrap(sample, np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    ours = bootstrap_interval(values, resamples=20_000)
    spread = reference.high - reference.low
    assert ours.low == pytest.approx(reference.low, abs=0.02 * spread)
    assert ours.high == pytest.approx(reference.high, abs=0.02 * spread)
    narrow = stats.bootstrap(sample, np.mean, method="percentile", n_resamples=20_000, confidence_level=0.5, rng=1)
    half = bootstrap_interval(values, resamples=20_000, level=0.5)
    assert half.high == pytest.approx(narrow.confidence_interval.high, abs=0.02 * spread)


def test_a_seed_gives_the_same_interval_whatever_the_global_generator(values, monkeypatch):
    first = bootstrap_interval(values, seed=3)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert bootstrap_interval(values, seed=3) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert bootstrap_interval(values, seed=4) != first
    monkeypatch.setattr(intervals, "CELLS", 1)  # one resample at a time
    assert bootstrap_interval(values, seed=3) == pytest.approx(first, abs=1e-12)


def literal(values, groups, generator):
    """Return one resampled mean, drawn group by group and counted pair by pair."""
    total = weight = 0.0
    drawn = []
    for group in groups:
        names = sorted(set(group.tolist()))
        picks = torch.randint(len(names), (1, len(names)), generator=generator)[0].tolist()
        drawn.append([names[pick] for pick in picks])
    for number, value in enumerate(values.tolist()):
        times = np.prod([each.count(int(group[number])) for each, group in zip(drawn, groups, strict=True)])
        total, weight = total + times * value, weight + times
    return total / weight if weight else float("nan")


@pytest.mark.parametrize("count", [1, 2])
def test_groups_are_drawn_as_wholes_and_two_groupings_apart(values, monkeypatch, count):
    groups = [torch.arange(80) // 10 * 7 + 1, torch.arange(80) % 10][:count]
    monkeypatch.setattr(intervals, "CELLS", 1)
    generator = torch.Generator().manual_seed(5)
    means = [literal(values, groups, generator) for _ in range(60)]
    expected = np.nanquantile(means, [0.025, 0.975])
    assert bootstrap_interval(values, groups=groups, resamples=60, seed=5) == pytest.approx(expected, rel=1e-9)


def test_values_that_share_a_group_are_less_sure():
    shared = torch.arange(10.0).repeat_interleave(20)
    label = torch.arange(10).repeat_interleave(20)
    alone, together = bootstrap_interval(shared), bootstrap_interval(shared, groups=[label])
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_what_is_nan_does_not_count(values):
    holes = torch.cat([values, torch.full((5,), torch.nan, dtype=torch.float64)])
    assert bootstrap_interval(holes) == bootstrap_interval(values)


def test_there_is_no_interval_of_one(values):
    assert bootstrap_interval(values[:1]) is None
    assert bootstrap_interval(values[:0]) is None
    assert bootstrap_interval(values, groups=[torch.arange(80), torch.zeros(80, dtype=torch.int64)]) is None


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_interval(torch.full((9,), 0.25)) == (0.25, 0.25)


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"level": 1.0}, {"groups": [torch.zeros(3)]}])
def test_what_does_not_fit_is_said(values, wrong):
    with pytest.raises(ImpastoError):
        bootstrap_interval(values, **wrong)


@pytest.mark.parametrize(("hits", "count", "level"), [(0, 10, 0.95), (7, 9, 0.95), (267, 1000, 0.9), (5, 5, 0.99)])
def test_wilson_is_that_of_scipy(hits, count, level):
    reference = stats.binomtest(hits, count).proportion_ci(level, method="wilson")
    assert wilson_interval(hits, count, level) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_wilson_of_nothing():
    assert wilson_interval(0, 0) is None
    with pytest.raises(ImpastoError, match="0 to 3 hits"):
        wilson_interval(4, 3)
