"""The collection: one pass per network, side and batch, and every trap of metrics that are fed together."""

import copy
import gc

import pytest
import torch
from torch import distributed as dist
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.base import FeatureMean, PictureMetric
from metrics.collection import StyleMetricCollection
from metrics.deception import DeceptionRate
from metrics.perceptual import PerceptualDistance
from metrics.set_distance import SetMetric
from metrics.ssim import StructuralSimilarity


class Colours(nn.Module):
    """Mean colour and the picture; notes every pass."""

    def __init__(self, gain=1.0, source="published"):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.source = source
        self.passes = []

    def forward(self, images, taps):
        self.passes.append(tuple(taps))
        found = {"colour": images.mean((2, 3)) * self.gain, "map": images * self.gain}
        return {tap: found[tap] for tap in taps}


class ColourGap(FeatureMean):
    higher_is_better = False
    taps = ("colour",)
    convention = "gap of colours"

    def _values_from(self, preds, target):
        assert list(preds) == list(target) == ["colour"]
        return (preds["colour"] - target["colour"]).abs().sum(1)


class MapGap(ColourGap):
    taps = ("map",)
    convention = "gap of maps"

    def _values_from(self, preds, target):
        return (preds["map"] - target["map"]).abs().mean((1, 2, 3))


class SetGap(SetMetric):
    higher_is_better = False
    taps = ("colour",)
    convention = "gap of sets"

    def _distance(self, real, fake):
        gap = (real.double().mean(0) - fake.double().mean(0)).abs()
        return {"gap": gap.sum(), "gap_max": gap.max()}


class Beside(SetGap):
    """Counts the contents too."""

    def _beside(self, fields, *, real):
        assert fields["content"].shape[1] == 3
        return {}


class Distance(nn.Module):
    def __init__(self, weight=1):
        super().__init__()
        self.weight = weight

    def forward(self, a, b):
        return self.weight * (a - b).abs().mean((1, 2, 3))


class RedGreenBlue(nn.Module):
    artists = ("red", "green", "blue")
    source = "embedded"

    def forward(self, images):
        return images.mean((2, 3))


class Frames(PictureMetric):
    """Neither per sample nor on features."""

    higher_is_better = False
    inputs = ("stylized",)
    convention = "frames"

    def __init__(self):
        super().__init__()
        self.add_state("frames", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, stylized):
        self.frames += len(stylized)

    def compute(self):
        return self.frames


N = 7


def pictures(seed, n=N, size=16):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def fields(index=None, **others):
    index = torch.arange(N) if index is None else torch.as_tensor(index)
    batch = {"stylized": pictures(0)[index], "style": pictures(1)[index], "content": pictures(2)[index]}
    return batch | {"artist": [RedGreenBlue.artists[i % 3] for i in index.tolist()], "index": index} | others


def make(network=None):
    network = network or Colours()
    return StyleMetricCollection(
        {
            "colour": ColourGap(network),
            "map": MapGap(network),
            "set": SetGap(network),
            "ssim": StructuralSimilarity(),
            "lpips": PerceptualDistance(Distance()),
            "deception": DeceptionRate(RedGreenBlue(), average="macro"),
            "frames": Frames(),
        }
    )


def expected():
    a, b, c = (pictures(seed).double() for seed in range(3))
    colour = (a.mean((2, 3)) - b.mean((2, 3))).abs()
    hits = a.mean((2, 3)).argmax(1) == torch.arange(N) % 3
    sets = (a.mean((0, 2, 3)) - b.mean((0, 2, 3))).abs()
    return {
        "colour": colour.sum(1).mean(),
        "map": (a - b).abs().mean(),
        "set": sets.sum(),
        "set_max": sets.max(),
        "lpips": (a - c).abs().mean(),
        "deception_embedded": torch.stack([hits[artist::3].double().mean() for artist in range(3)]).mean(),
        "frames": torch.tensor(N),
    }


def assert_expected(values):
    wanted = expected()
    assert values.keys() == wanted.keys() | {"ssim"}
    for key, value in wanted.items():
        assert abs(float(values[key]) - float(value)) < 1e-6, key


@pytest.mark.parametrize("splits", [(7,), (3, 3, 1), (1, 6)])
def test_values_keys_and_conventions(splits):
    collection = make()
    for part in torch.arange(N).split(splits):
        collection.update(**fields(part))
    values = collection.compute()
    assert_expected(values)
    assert collection.conventions().keys() == values.keys()
    assert collection.conventions()["set_max"] == "gap of sets"
    rows = collection.sample_values()
    assert rows.keys() == {"colour", "map", "ssim", "lpips", "deception_embedded"}
    assert {len(value) for value in rows.values()} == {splits[-1]}
    index, group, columns = collection.table()
    assert index.tolist() == list(range(N))
    assert group.tolist() == [i % 3 for i in range(N)]
    assert abs(float(columns["map"].mean()) - float(values["map"])) < 1e-12


def test_one_pass_per_network_side_and_batch():
    network = Colours()
    collection = make(network)
    for part in torch.arange(N).split(4):
        collection.update(**fields(part))
    assert network.passes == [("colour", "map")] * 4  # two sides of two batches


def test_features_are_never_those_of_other_pictures():
    """A cache by the tensor's identity would not notice that a batch's memory was filled again."""
    collection = StyleMetricCollection({"map": MapGap(Colours())})
    batch = fields()
    collection.update(**batch)
    first = collection.sample_values()["map"].clone()
    batch["stylized"].copy_(batch["style"])
    collection.update(**batch | {"index": torch.arange(N) + N})
    assert float(first.min()) > 0
    assert float(collection.sample_values()["map"].abs().max()) == 0


def test_networks_that_look_alike_are_not_merged():
    one, two = Colours(1.0), Colours(2.0)
    assert repr(one) == repr(two)
    collection = StyleMetricCollection({"one": MapGap(one), "two": MapGap(two), "distance": SetGap(two)})
    collection.update(**fields())
    values = collection.compute()
    assert abs(float(values["two"]) - 2 * float(values["one"])) < 1e-6


def test_metrics_that_look_alike_at_first_are_not_merged():
    """torchmetrics' compute groups merge metrics of equal states; after equal pictures all stand at 0."""
    metrics = {"one": PerceptualDistance(Distance()), "ten": PerceptualDistance(Distance(10))}
    collection = StyleMetricCollection(metrics)
    same = fields([0, 1])
    collection.update(**same | {"stylized": same["content"]})
    collection.update(**fields([2, 3, 4]))
    values = collection.compute()
    assert float(values["one"]) > 0
    assert abs(float(values["ten"]) - 10 * float(values["one"])) < 1e-6


def test_values_between_updates_are_not_cached():
    collection = make()
    collection.update(**fields([0, 1]))
    before = collection.compute()
    collection.update(**fields(range(2, N)))
    assert_expected(collection.compute())
    assert float(before["set"]) != float(expected()["set"])


def test_half_precision_does_not_reach_the_numbers():
    collection = make()
    owner = nn.Module()
    owner.collection = collection
    owner.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        collection.update(**fields())
    assert_expected(collection.compute())
    assert owner.state_dict() == {}
    assert list(owner.parameters()) == []
    assert copy.deepcopy(collection).metrics["map"].extractor is collection.metrics["map"].extractor


def test_positions_count_once():
    collection = make()
    for index in ([6, 0, 1], [0, 2, 3], [3, 4, 5, 6]):
        collection.update(**fields(index))
    values = collection.compute()
    assert float(values.pop("frames")) == 10  # what keeps its own count cannot know
    wanted = expected()
    assert all(abs(float(values[key]) - float(wanted[key])) < 1e-6 for key in values.keys() & wanted.keys())


def test_reset_leaves_nothing():
    collection = make()
    collection.update(**fields())
    collection.reset()
    assert collection.compute() == {}
    collection.update(**fields())
    assert_expected(collection.compute())


def test_other_inputs_and_missing_fields():
    collection = StyleMetricCollection(
        {"ssim": StructuralSimilarity(), "ssim_truth": StructuralSimilarity(), "set": Beside(Colours(source="hed x"))},
        inputs={"ssim_truth": ("stylized", "truth")},
    )
    collection.update(**fields([0, 1]))
    assert collection.compute().keys() == {"ssim", "set_hed", "set_max_hed"}
    batch = fields([2, 3])
    collection.update(**batch, truth=batch["stylized"])
    assert float(collection.compute()["ssim_truth"]) == 1  # of the two that have it
    assert collection.conventions()["ssim_truth"].startswith("of stylized and truth: SSIM")
    with pytest.raises(ImpastoError, match="no metric 'x'"):
        StyleMetricCollection({}, inputs={"x": ("a", "b")})


def test_what_is_refused_or_left_out():
    collection = make()
    with pytest.raises(ImpastoError, match="2 positions and 7 of stylized"):
        collection.update(**fields() | {"index": torch.arange(2)})
    with pytest.raises(ImpastoError, match="style pictures must lie"):
        collection.update(**fields(style=3 * pictures(1)))
    collection.reset()
    collection.update(**fields([3]))
    with pytest.raises(ImpastoError, match="at least 2 reference pictures, there are 1"):
        collection.compute()
    told = []
    values = collection.compute(told.append)
    assert "set" not in values
    assert "map" in values
    assert told == ["set is left out: SetGap needs at least 2 reference pictures, there are 1, each counted once."]


def test_networks_are_let_go_of():
    import weakref

    network = Colours()
    alive = weakref.ref(network)
    collection = make(network)
    collection.update(**fields())
    del network, collection
    gc.collect()
    assert alive() is None


# ---- two ranks ---------------------------------------------------------------------------------------------------

SHARES = {"uneven": ((0, 5), (5, 7)), "empty": ((0, 7), (7, 7))}


def rank_main(rank, store, out):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    results = {}
    for name, shares in SHARES.items():
        collection = make()
        for part in torch.arange(*shares[rank]).split(2):
            # A padded sampler: every batch also brings sample 0, but for the count of frames.
            collection.update(**fields(torch.cat([part, torch.tensor([0])])))
        collection.metrics.pop("frames")
        collection.inputs.pop("frames")
        results[name] = collection.compute(), collection.table()
    torch.save(results, f"{out}.{rank}")
    dist.destroy_process_group()


def test_two_ranks_give_the_values_of_one(tmp_path, run_ranks):
    run_ranks(rank_main, str(tmp_path / "store"), str(tmp_path / "out"))
    single = make()
    single.update(**fields(artist=torch.arange(N) % 3, prompt=fields()["artist"]))
    single = single.compute()
    for rank in range(2):
        for values, (index, _, columns) in torch.load(tmp_path / f"out.{rank}").values():
            assert index.tolist() == list(range(N))
            assert len(columns["map"]) == N
            assert values.keys() == single.keys() - {"frames"}
            # Not the macro average: names are numbered as they appear, which differs between ranks.
            for key in values.keys() - {"deception_embedded"}:
                assert abs(float(values[key]) - float(single[key])) < 1e-6


def test_a_collection_of_sets_alone_has_a_table_without_columns():
    collection = StyleMetricCollection({"set": SetGap(Colours())})
    collection.update(**fields())
    index, group, columns = collection.table()
    assert index.tolist() == list(range(N))
    assert len(group) == N
    assert columns == {}
    assert set(collection.compute()) == {"set", "set_max"}
