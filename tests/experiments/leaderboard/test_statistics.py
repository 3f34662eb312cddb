"""Intervals over seeds and pairs, against numpy by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from experiments.leaderboard.records import Record
from experiments.leaderboard.statistics import difference, over_seeds, values_of
from metrics.functional.intervals import bootstrap_interval

CONTENT, STYLE = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)


def records(values, *, trained=True, key="m"):
    """Return a record a seed of values ``(seeds, 30)``."""
    about = {"training": {"iterations": 5} if trained else None}
    return [
        Record("a", seed, about, {key: {"mean": float(np.mean(row)), "low": None, "high": None, "better": "higher"}},
               {"content": CONTENT.tolist(), "style": STYLE.tolist(), key: list(map(float, row))})
        for seed, row in enumerate(values)
    ]  # fmt: skip


def bootstrap(values):
    groups = [torch.tensor(CONTENT), torch.tensor(STYLE)]
    return np.array(bootstrap_interval(torch.tensor(values), groups=groups))


def test_the_interval_adds_what_seeds_and_what_pairs_may_move():
    values = np.random.default_rng(0).normal(3, 1, (3, 30))
    found = over_seeds(records(values), "m")
    means = values.mean(1)
    seeds = student.ppf(0.975, 2) * np.sqrt(np.sum((means - means.mean()) ** 2) / 2 / 3)
    low, high = bootstrap(values.mean(0))
    assert found.mean == pytest.approx(values.mean())
    assert found.deviation == pytest.approx(means.std(ddof=1))
    assert found.low == pytest.approx(values.mean() - np.hypot(values.mean() - low, seeds))
    assert found.high == pytest.approx(values.mean() + np.hypot(high - values.mean(), seeds))
    assert found.n == 3


def test_of_one_seed_the_interval_is_that_of_its_pairs():
    values = np.random.default_rng(1).normal(0, 1, (1, 30))
    found = over_seeds(records(values), "m")
    assert (found.low, found.high) == pytest.approx(tuple(bootstrap(values[0])))
    assert found.deviation is None


def test_a_metric_of_sets_takes_the_reaches_of_its_evaluations_or_of_its_seeds_alone():
    three = records(np.array([[1.0], [2.0], [3.0]]) + np.zeros(30))
    bare = [Record("a", r.seed, r.about, dict(r.metrics)) for r in three]
    alone = over_seeds(bare, "m")
    assert alone.high - 2 == pytest.approx(student.ppf(0.975, 2) / np.sqrt(3))
    for record in bare:
        record.metrics["m"] |= {"low": record.metrics["m"]["mean"] - 0.5, "high": record.metrics["m"]["mean"] + 1}
    both = over_seeds(bare, "m")
    assert both.high - 2 == pytest.approx(np.hypot(1, alone.high - 2))
    assert 2 - both.low == pytest.approx(np.hypot(0.5, alone.high - 2))


def test_shares_have_no_more_than_all():
    values = np.tile([1.0, 1, 1, 1, 0], (3, 6))
    values[2, :3] = 0  # one seed is worse
    assert over_seeds(records(values, key="m"), "m").high > 1
    assert over_seeds(records(values, key="deception"), "deception").high == 1


def test_what_was_not_measured_has_no_mean():
    assert over_seeds(records(np.ones((2, 30))), "other") is None
    assert difference(records(np.ones((2, 30))), [], "m") is None


def test_a_difference_is_paired_and_has_welchs_interval_of_the_seeds():
    noise = np.random.default_rng(2)
    hard = noise.normal(0, 10, 30)  # some pairs are hard for both
    first, second = hard + noise.normal(1, 0.1, (3, 30)), hard + noise.normal(0, 0.1, (2, 30))
    first += np.array([[-0.1], [0.0], [0.1]])
    found = difference(records(first), records(second), "m")
    parts = [(side.mean(1).var(ddof=1) / len(side), len(side) - 1) for side in (first, second)]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / (n) for part, n in parts)
    seeds = student.ppf(0.975, freedom) * np.sqrt(total)
    middle = first.mean() - second.mean()
    low, high = bootstrap(first.mean(0) - second.mean(0))
    assert found.mean == pytest.approx(middle)
    assert found.low == pytest.approx(middle - np.hypot(middle - low, seeds))
    assert found.high == pytest.approx(middle + np.hypot(high - middle, seeds))
    assert found.sure
    apart = [over_seeds(records(side), "m") for side in (first, second)]
    assert apart[0].low < apart[1].high  # their own intervals overlap by far


def test_one_training_of_one_seed_is_never_sure():
    found = difference(records(np.ones((1, 30))), records(np.zeros((3, 30))), "m")
    assert (found.mean, found.low, found.high, found.sure) == (1, None, None, False)


def test_what_is_not_trained_has_no_seeds_to_differ():
    noise = np.random.default_rng(3)
    fixed, trained = noise.normal(5, 0.1, (1, 30)), noise.normal(0, 0.1, (2, 30))
    found = difference(records(fixed, trained=False), records(trained), "m")
    assert found.sure
    alone = difference(records(fixed, trained=False), records(fixed - 5, trained=False), "m")
    assert (alone.low, alone.high) == pytest.approx((5, 5))


def test_differences_of_sets_add_both_sides_crosswise():
    sides = [[Record("a", 0, {"training": None}, {"m": {"mean": mean, "low": mean - low, "high": mean + high}})]
             for mean, low, high in ((5, 1, 2), (3, 3, 4))]  # fmt: skip
    found = difference(*sides, "m")
    assert found.low == pytest.approx(2 - np.hypot(1, 4))
    assert found.high == pytest.approx(2 + np.hypot(2, 3))


def test_values_without_a_pair_stay_out():
    with_hole = records(np.ones((2, 30)))
    with_hole[0].pairs["m"][3] = None
    values = values_of(with_hole, "m")
    assert values.isnan().nonzero().flatten().tolist() == [3]
    assert over_seeds(with_hole, "m").low == 1


def test_a_pair_that_one_side_lacks_counts_on_neither():
    hard = np.random.default_rng(4).normal(0, 10, 30)
    second = records(np.stack([hard, hard]))
    for record in second:
        record.pairs["m"][3] = None
        record.metrics["m"]["mean"] = float(np.delete(hard, 3).mean())
    found = difference(records(np.stack([hard, hard])), second, "m")
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_nothing_is_sure_where_neither_seeds_nor_pairs_were_drawn():
    bare = [[Record("a", 0, {"training": None}, {"m": {"mean": mean, "low": None, "high": None}})] for mean in (5, 3)]
    found = difference(*bare, "m")
    assert (found.mean, found.low, found.high, found.sure) == (2, None, None, False)
    trained = [
        Record("a", seed, {"training": {}}, {"m": {"mean": seed / 10, "low": None, "high": None}}) for seed in (0, 1, 2)
    ]
    alone = difference(bare[0], trained, "m")  # of seeds alone
    assert alone.high - alone.mean == pytest.approx(student.ppf(0.975, 2) * 0.1 / np.sqrt(3))
