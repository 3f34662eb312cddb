"""What every metric on features inherits: counting, gathering, and what it refuses."""

import copy
import pickle

import pytest
import torch
from torch import distributed as dist
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.base import FeatureMean, Held
from metrics.set_distance import SetMetric


class Colours(nn.Module):
    """Mean colour, and the picture itself; counts its passes."""

    source = "embedded"

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.passes = 0

    def forward(self, images, taps):
        self.passes += 1
        assert images.dtype == torch.float32
        found = {"colour": images.mean((2, 3)) * self.gain, "map": images * self.gain}
        return {tap: found[tap] for tap in taps}


class ColourGap(FeatureMean):
    higher_is_better = False
    taps = ("colour",)
    convention = "gap"

    def _values_from(self, preds, target):
        return (preds["colour"] - target["colour"]).abs().sum(1)


class MeanGap(SetMetric):
    higher_is_better = False
    taps = ("colour",)
    convention = "gap of means"

    def _distance(self, real, fake):
        return (real.double().mean(0) - fake.double().mean(0)).abs().sum()


def pictures(seed, n=7, size=8):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def gap_of_sets(a, b):
    return float((a.double().mean((0, 2, 3)) - b.double().mean((0, 2, 3))).abs().sum())


def gap_of_pairs(a, b):
    return float((a.double().mean((2, 3)) - b.double().mean((2, 3))).abs().sum(1).mean())


@pytest.mark.parametrize("splits", [(7,), (1, 6), (3, 3, 1)])
def test_batches_of_any_size_give_one_value(splits):
    a, b = pictures(0), pictures(1)
    pairs, sets = ColourGap(Colours()), MeanGap(Colours())
    for part_a, part_b in zip(a.split(splits), b.split(splits), strict=True):
        pairs.update(part_a, part_b)
        sets.update(part_a, real=False)
        sets.update(part_b, real=True)
    assert abs(float(pairs.compute()) - gap_of_pairs(a, b)) < 1e-6
    assert abs(float(sets.compute()) - gap_of_sets(a, b)) < 1e-6


def test_features_count_as_pictures_do():
    a, b = pictures(0), pictures(1, size=12)
    network = Colours()
    pairs, sets = ColourGap(network), MeanGap(network)
    features = [network(x, ["colour", "map"]) for x in (a, b)]
    pairs.update_features(*features)
    sets.update_features(features[0], real=False)
    sets.update_features(features[1], real=True)
    assert pairs.extractor is sets.extractor is network
    assert network.passes == 2
    assert abs(float(pairs.compute()) - gap_of_pairs(a, b)) < 1e-6
    assert abs(float(sets.compute()) - gap_of_sets(a, b)) < 1e-6
    assert not pairs.compute().requires_grad
    before = float(pairs.compute()), float(sets.compute())
    pairs.update_features(features[1], features[1])
    sets.update_features(features[1], real=False)
    assert float(pairs.compute()) == pytest.approx(before[0] / 2)  # no cached result
    assert float(sets.compute()) == pytest.approx(before[1] / 2)
    assert not sets.rows(True).requires_grad


def test_equal_sides_are_exactly_zero_in_any_type():
    for images in (
        pictures(0),
        pictures(0).half(),
        (pictures(0) * 255).byte(),
        torch.eye(2).view(2, 1, 2, 1).expand(2, 3, 2, 8),
    ):
        pairs, sets = ColourGap(Colours()), MeanGap(Colours())
        with torch.autocast("cpu", torch.bfloat16):
            pairs.update(images, images)
            sets.update(images, real=True)
            sets.update(images, real=False)
        assert float(pairs.compute()) == float(sets.compute()) == 0


def test_repeated_positions_count_once_and_in_order():
    a = pictures(0)
    metric, plain = MeanGap(Colours()), MeanGap(Colours())
    plain.update(a, real=False)
    for index in ([6, 1, 0], [1, 2], [3, 4, 5, 6]):
        metric.update(a[index], real=False, index=torch.tensor(index))
    assert torch.equal(metric.rows(False), plain.rows(False))
    metric.update(a[:2], real=False)  # without positions equal pictures count twice
    assert len(metric.rows(False)) == 9


def test_a_reference_counts_once_whatever_position_it_comes_with():
    a = pictures(0)
    metric = MeanGap(Colours())
    for position, rows in enumerate(([6, 1, 1], [0], [6, 2, 0, 3])):
        metric.update(a[rows], real=True, index=torch.arange(len(rows)) + 10 * position)
    assert len(metric.rows(True)) == 5
    expected = a[[0, 1, 2, 3, 6]].double().mean((0, 2, 3))
    assert float((metric.rows(True).double().mean(0) - expected).abs().max()) < 1e-6
    metric.update_features({"colour": torch.zeros(2, 3)}, real=True)  # nobody knows what they are of
    assert len(metric.rows(True)) == 7


def test_reset_and_use_again():
    metric = MeanGap(Colours())
    for seed in (0, 1):
        metric.update(pictures(seed), real=True)
        metric.update(pictures(seed + 2), real=False)
        assert abs(float(metric.compute()) - gap_of_sets(pictures(seed), pictures(seed + 2))) < 1e-6
        metric.reset()
        assert metric.rows(True).shape[0] == 0


def test_casts_checkpoints_and_copies():
    parent = nn.Module()
    parent.metric = MeanGap(Colours())
    a = pictures(0)
    parent.metric.update(a, real=True)
    before = parent.metric.rows(True).clone()
    parent.to(torch.bfloat16).half()
    assert torch.equal(parent.metric.rows(True), before)
    assert parent.metric.extractor.gain.dtype == torch.float32
    assert parent.state_dict() == {}
    assert list(parent.parameters()) == []
    assert parent.metric.sources == ("embedded",)
    assert copy.deepcopy(parent.metric).extractor is parent.metric.extractor
    revived = pickle.loads(pickle.dumps(parent.metric))  # noqa: S301
    assert torch.equal(revived.rows(True), before)


def test_a_network_judges_as_it_will_be_used():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3)).train()
    assert not Held(network).network.training
    assert not network[0].training


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_what_is_refused():
    metric = MeanGap(Colours())
    with pytest.raises(ImpastoError, match="at least 2 reference pictures, there are 0"):
        metric.compute()
    metric.update(pictures(0), real=True)
    metric.update(pictures(0, n=1), real=False)
    with pytest.raises(ImpastoError, match="at least 2 generated pictures, there are 1"):
        metric.compute()
    with pytest.raises(ImpastoError, match=r"must be \(B, 3\).*got \(2, 4\)"):
        metric.update_features({"colour": torch.zeros(2, 4)}, real=False)
    with pytest.raises(ImpastoError, match="nan or infinite"):
        metric.update_features({"colour": torch.full((1, 3), torch.nan)}, real=False)
    with pytest.raises(ImpastoError, match="7 pictures and 2 positions"):
        metric.update(pictures(0), real=False, index=torch.arange(2))
    with pytest.raises(ImpastoError, match="style pictures must lie"):
        metric.update(2 * pictures(0), real=True)
    with pytest.raises(ImpastoError, match="7 stylized pictures and 6 styles"):
        ColourGap(Colours()).update(pictures(0), pictures(0, n=6))


# ---- two ranks ---------------------------------------------------------------------------------------------------

SHARES = {"uneven": ((0, 5), (5, 7)), "empty": ((0, 7), (7, 7))}


def measured(start, stop):
    metric = MeanGap(Colours())
    a, b = pictures(0), pictures(1)
    for first in range(start, stop, 2):
        part = slice(first, min(first + 2, stop))
        # A padded sampler: every batch also brings sample 0.
        index = torch.cat([torch.arange(7)[part], torch.tensor([0])])
        metric.update(a[index], real=False, index=index)
        metric.update(b[index], real=True, index=index)
    return metric


def rank_main(rank, store, out):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    results = {}
    for name, shares in SHARES.items():
        metric = measured(*shares[rank])
        results[name] = float(metric.compute())
        with pytest.raises(ImpastoError, match="there are 0"):
            MeanGap(Colours()).compute()
        metric.least = 100
        metric._computed = None
        with pytest.raises(ImpastoError, match="there are 7"):
            metric.compute()
        metric.least = 2
        metric.reset()  # after an error within the gather
        metric.update(pictures(rank), real=True)
        metric.update(pictures(rank), real=False)
        assert float(metric.compute()) == 0
    torch.save(results, f"{out}.{rank}")
    dist.destroy_process_group()


def test_two_ranks_give_the_value_of_one(tmp_path, run_ranks):
    run_ranks(rank_main, str(tmp_path / "store"), str(tmp_path / "out"))
    expected = gap_of_sets(pictures(0), pictures(1))
    assert abs(float(measured(0, 7).compute()) - expected) < 1e-6
    for rank in range(2):
        for value in torch.load(tmp_path / f"out.{rank}").values():
            assert abs(value - expected) < 1e-6
