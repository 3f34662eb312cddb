"""Every metric of pictures, alone and with the traps of torchmetrics."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.deception import DeceptionRate
from metrics.functional.ssim import structural_similarity
from metrics.functional.style_distance import style_distance
from metrics.perceptual import PerceptualDistance
from metrics.sample_table import SampleTable
from metrics.ssim import StructuralSimilarity
from metrics.style_loss import LAYERS, StyleLoss

ARTISTS = ("Ada Stipple", "Bo Hatch", "Cy Wash")


class Encoder(nn.Module):
    """Five blocks of one convolution under VGG's names."""

    source = "embedded"

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1) for i in range(5))
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 4

    def forward(self, images, layers):
        maps, x = {}, images
        for i, conv in enumerate(self.convs):
            x = torch.relu(conv(nn.functional.avg_pool2d(x, 2) if i else x))
            maps[f"relu{i + 1}_1"] = x
        return {layer: maps[layer] for layer in layers}


class Distance(nn.Module):
    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


class RedGreenBlue(nn.Module):
    """Names the artist by the strongest colour."""

    artists = ARTISTS
    source = "embedded"

    def forward(self, images):
        return images.mean((2, 3))


def pictures(seed, n=5, size=32):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


PAIR_METRICS = {
    "ssim": StructuralSimilarity,
    "style": lambda: StyleLoss(Encoder()),
    "style_l2": lambda: StyleLoss(Encoder(), form="l2"),
    "perceptual": lambda: PerceptualDistance(Distance()),
}
pair_metrics = pytest.mark.parametrize("make", PAIR_METRICS.values(), ids=PAIR_METRICS.keys())


def expected(make, a, b):
    encoder = Encoder()
    with torch.no_grad():
        return {
            "ssim": lambda: structural_similarity(a, b).double().mean(),
            "style": lambda: style_distance(encoder(a, LAYERS), encoder(b, LAYERS)).mean(),
            "style_l2": lambda: equation_1(encoder(a, LAYERS), encoder(b, LAYERS)),
            "perceptual": lambda: (a - b).abs().mean((1, 2, 3)).double().mean(),
        }[next(key for key, value in PAIR_METRICS.items() if value is make)]()


def equation_1(features, target):
    """ContraAST's eq. 1, by numpy."""
    total = 0
    for layer in LAYERS:
        x, y = (maps[layer].flatten(2).double().numpy() for maps in (features, target))
        total += np.linalg.norm(x.mean(2) - y.mean(2), axis=1)
        total += np.linalg.norm(x.std(2, ddof=1) - y.std(2, ddof=1), axis=1)
    return total.mean()


@pair_metrics
@pytest.mark.parametrize("splits", [(5,), (1, 4), (2, 2, 1), (4, 1)])
def test_batches_of_any_size_give_one_mean(make, splits):
    a, b = pictures(0), pictures(1)
    metric = make()
    for part_a, part_b in zip(a.split(splits), b.split(splits), strict=True):
        metric.update(part_a, part_b)
    # A convolution rounds by the size of its batch.
    assert abs(float(metric.compute()) - float(expected(make, a, b))) < 5e-7


@pair_metrics
def test_equal_pictures(make):
    metric = make()
    for seed in range(2):
        metric.update(pictures(seed), pictures(seed))
    metric.update(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32))
    assert float(metric.compute()) == (1 if metric.higher_is_better else 0)


@pair_metrics
def test_half_precision_and_autocast_do_not_reach_the_number(make):
    a, b = pictures(0).bfloat16(), pictures(1).bfloat16()
    metric = make()
    with torch.autocast("cpu", torch.bfloat16):
        metric.update(a, b)
    assert abs(float(metric.compute()) - float(expected(make, a.float(), b.float()))) < 1e-7


@pair_metrics
def test_casting_the_parent_keeps_the_sums(make):
    parent = nn.Module()
    parent.metric = make()
    parent.metric.update(pictures(0), pictures(1))
    before = parent.metric.compute()
    parent.to(torch.bfloat16)
    parent.half()
    assert parent.metric.total.dtype == torch.float64
    parent.metric.update(pictures(0), pictures(1))
    assert abs(float(parent.metric.compute()) - float(before)) < 1e-12


@pytest.mark.parametrize("metric", [StyleLoss(Encoder()), DeceptionRate(RedGreenBlue())])
def test_networks_stay_out_of_checkpoints_and_copies(metric):
    assert metric.state_dict() == {}
    assert list(metric.parameters()) == []
    clone = copy.deepcopy(metric)
    held = [name for name, value in vars(metric).items() if type(value).__name__ == "Held"]
    assert held
    assert all(getattr(clone, name) is getattr(metric, name) for name in held)


def test_a_collection_does_not_merge_metrics_that_look_alike_at_first():
    from torchmetrics import MetricCollection  # needs the shim, which a spawned process has only after our imports

    class Twice(Distance):
        def forward(self, a, b):
            return 2 * super().forward(a, b)

    collection = MetricCollection({"one": PerceptualDistance(Distance()), "two": PerceptualDistance(Twice())})
    collection.update(pictures(0), pictures(0))  # both stand at 0
    collection.update(pictures(0), pictures(1))
    values = collection.compute()
    assert abs(float(values["two"]) - 2 * float(values["one"])) < 1e-7
    assert float(values["one"]) > 0


@pair_metrics
def test_no_gradient_and_no_random_number_is_spent(make):
    a, b = pictures(0).requires_grad_(), pictures(1)
    metric, state = make(), torch.get_rng_state()
    metric.update(a, b)
    assert not metric.compute().requires_grad
    assert torch.equal(state, torch.get_rng_state())


def test_pictures_that_cannot_be_compared_are_refused():
    for make in (StructuralSimilarity, lambda: PerceptualDistance(Distance())):
        with pytest.raises(ImpastoError, match="differ in shape"):
            make().update(pictures(0), pictures(0, size=33))
    with pytest.raises(ImpastoError, match="5 stylized pictures and 4 styles"):
        StyleLoss(Encoder()).update(pictures(0), pictures(1, n=4))
    StyleLoss(Encoder()).update(pictures(0), pictures(0, size=48))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_conventions_and_empty_metrics():
    for metric in (*(make() for make in PAIR_METRICS.values()), DeceptionRate(RedGreenBlue())):
        assert len(metric.convention) > 20
        assert "\n" not in metric.convention
        assert math.isnan(float(metric.compute()))


def colours(*channels):
    images = torch.zeros(len(channels), 3, 16, 16)
    for image, channel in zip(images, channels, strict=True):
        image[channel] = 1
    return images


def test_deception_counts_by_name():
    metric = DeceptionRate(RedGreenBlue())
    metric.update(colours(0, 0, 1, 2), ["Ada Stipple", "ada-stipple", "Bo_Hatch", "Ada Stipple"])
    assert float(metric.compute()) == 0.75
    metric.update(colours(0, 2), ["Nobody", "cy  wash"])
    assert float(metric.compute()) == 0.8
    assert metric.hits.tolist() == [2, 1, 1]
    assert metric.counts.tolist() == [3, 1, 1]


def test_deception_macro_average_counts_every_artist_the_same():
    micro, macro = (DeceptionRate(RedGreenBlue(), average=average) for average in ("micro", "macro"))
    for metric in (micro, macro):
        metric.update(colours(0, 0, 0, 0), torch.tensor([0, 0, 0, 1]))
    assert float(micro.compute()) == 0.75
    assert float(macro.compute()) == 0.5


class Seven(nn.Module):
    """Fixed logits of seven artists."""

    artists = tuple("abcdefg")
    source = "embedded"

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits[: len(images)]


@pytest.mark.parametrize("top", [1, 2, 5, 6])
def test_deception_among_the_first(top):
    logits = torch.randn(60, 7, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.arange(60) % 7
    labels[7:9] = -1
    metric = DeceptionRate(Seven(logits), top=top)
    metric.update(colours(*[0] * 60), labels)
    known = [(row, artist) for row, artist in zip(logits.tolist(), labels.tolist(), strict=True) if artist >= 0]
    ranks = [sorted(row, reverse=True).index(row[artist]) for row, artist in known]
    assert float(metric.compute()) == sum(rank < top for rank in ranks) / 58
    assert ("first choice among 7 artists" in metric.convention) == (top == 1)
    assert (f"among the first {top} of 7 artists" in metric.convention) == (top > 1)


class Doubtful(Seven):
    """The last of its logits stands for none of the six artists."""

    artists = tuple("abcdef")
    none = True


def test_none_of_the_artists_is_an_answer():
    logits = torch.zeros(4, 7)
    logits[0, 0] = 2  # a
    logits[1, [1, 6]] = torch.tensor([1.0, 2.0])  # nobody, and if anybody b
    logits[2, [3, 2, 6]] = torch.tensor([3.0, 2.0, 1.0])  # d, but c rather than nobody
    logits[3, 6] = 1
    labels, found = torch.arange(4), {}
    for name, options in {"open": {}, "closed": {"closed": True}, "top": {"top": 2}}.items():
        metric = DeceptionRate(Doubtful(logits), **options)
        metric.update(colours(*[0] * 4), labels)
        found[name] = metric.hits.tolist()[:4]
    assert found == {"open": [1, 0, 0, 0], "closed": [1, 1, 0, 0], "top": [1, 0, 1, 0]}
    with pytest.raises(ImpastoError, match=r"gives \(4, 7\) for 7 artists"):
        DeceptionRate(Doubtful(logits), "abcdefg").update(colours(*[0] * 4), labels)


def test_of_equal_logits_the_first_counts():
    rates = []
    for top in (1, 5):
        metric = DeceptionRate(Seven(torch.zeros(7, 7)), top=top)
        metric.update(colours(*[0] * 7), torch.arange(7))
        rates.append(metric.hits.tolist())
    assert rates == [[1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0]]


@pytest.mark.parametrize("top", [0, 7, 8])
def test_all_artists_or_none_say_nothing(top):
    with pytest.raises(ImpastoError, match=f"Among the first {top} of 7 artists says nothing"):
        DeceptionRate(Seven(torch.zeros(7, 7)), top=top)


def test_deception_needs_names():
    with pytest.raises(ImpastoError, match="give their names"):
        DeceptionRate(nn.Identity())
    with pytest.raises(ImpastoError, match="2 pictures and 1 artists"):
        DeceptionRate(RedGreenBlue()).update(colours(0, 1), ["Ada Stipple"])


def test_sample_table_counts_every_sample_once():
    table = SampleTable(["x", "y"])
    table.update(torch.tensor([3, 1]), torch.tensor([0, 1]), torch.tensor([[3.0, 0.1], [1.0, torch.nan]]))
    table.update(torch.tensor([1, 0]), torch.tensor([1, 0]), torch.tensor([[1.0, torch.nan], [0.0, 0.2]]))
    index, group, rows = table.compute()
    assert index.tolist() == [0, 1, 3]
    assert group.tolist() == [0, 1, 0]
    assert rows[:, 0].tolist() == [0, 1, 3]
    with pytest.raises(ValueError, match="need as many rows"):
        table.update(torch.tensor([1]), torch.tensor([0]), torch.zeros(1, 3))


# ---- two ranks ---------------------------------------------------------------------------------------------------

SHARES = {"uneven": ((0, 5), (5, 7)), "empty": ((0, 7), (7, 7))}
LABELS = torch.tensor([0, 1, 2, 0, -1, 2, 2])


def measured(start, stop):
    """Return metrics that saw pictures ``start`` to ``stop``, in batches of two."""
    ssim, style, deception = StructuralSimilarity(), StyleLoss(Encoder()), DeceptionRate(RedGreenBlue())
    table = SampleTable(["x"])
    table.update(torch.empty(0), torch.empty(0), torch.empty(0, 1))
    a, b = pictures(0, n=7), pictures(1, n=7)
    for first in range(start, stop, 2):
        part = slice(first, min(first + 2, stop))
        ssim.update(a[part], b[part])
        style.update(a[part], b[part])
        deception.update(a[part], LABELS[part])
        # A padded sampler: every rank also brings sample 0.
        index = torch.cat([torch.arange(7)[part], torch.tensor([0])])
        table.update(index, index, torch.cat([a[part], a[:1]]).mean((1, 2, 3))[:, None])
    return {"ssim": ssim, "style": style, "deception": deception}, table


def rank_main(rank, store, out):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    results = {}
    for name, shares in SHARES.items():
        metrics, table = measured(*shares[rank])
        results[name] = {key: metric.compute() for key, metric in metrics.items()}, table.compute()
    torch.save(results, f"{out}.{rank}")
    dist.destroy_process_group()


def test_two_ranks_give_the_value_of_one(tmp_path, run_ranks):
    run_ranks(rank_main, str(tmp_path / "store"), str(tmp_path / "out"))
    metrics, table = measured(0, 7)
    for rank in range(2):
        for values, joined in torch.load(tmp_path / f"out.{rank}").values():
            for name, metric in metrics.items():
                # Not bit for bit: a convolution rounds by the size of its batch.
                assert abs(float(values[name]) - float(metric.compute())) < 1e-8
            assert all(torch.equal(x, y) for x, y in zip(joined, table.compute(), strict=True))
