"""A style that goes with many contents counts once: in one process, over ranks, and as in a folder."""

import pytest
import torch
from torch import distributed as dist
from torch import nn

from metrics.artfid import ArtFID
from metrics.cmmd import CMMD
from metrics.collection import StyleMetricCollection
from metrics.csd import CSD
from metrics.frechet import FrechetDistance
from metrics.functional.mmd import kernel_inception_distance
from metrics.kid import KID

STYLES, CONTENTS = 6, 5


class Pixels(nn.Module):
    source = "embedded"

    def forward(self, images, taps):
        return dict.fromkeys(taps, 4 * images.flatten(1) - 2)


class Gap(nn.Module):
    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


def pictures(seed, n, size=2):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_kid_of_equal_distributions_is_unbiased():
    """Both sides from one distribution, every style in many pairs: the mean over draws is 0 within its error.

    Counted once per pair, copies make the references look alike and the distance is far above 0.
    """
    once, per_pair = [], []
    index, draws = torch.arange(STYLES * CONTENTS), 120
    for draw in range(draws):
        styles, stylized = pictures(2 * draw, STYLES), pictures(2 * draw + 1, len(index))
        style = styles[index % STYLES]
        collection = StyleMetricCollection({"kid": KID(Pixels())})
        for part in index.split(8):
            collection.update(stylized=stylized[part], style=style[part], index=part)
        once.append(collection.compute()["kid_embedded"])
        assert collection.metrics["kid"].sizes == (30, 6)
        rows = [Pixels()(images, ["x"])["x"] for images in (stylized, style)]
        per_pair.append(kernel_inception_distance(*rows))
    values = torch.stack([torch.stack(once), torch.stack(per_pair)])
    means, errors = values.mean(1), values.std(1) / draws**0.5
    assert abs(means[0]) < 3 * errors[0]
    assert means[1] > 10 * errors[1]


def fields(index):
    """Pairs as a validation makes them: content after content, each with every style."""
    content, style = index // STYLES, index % STYLES
    return {
        "stylized": pictures(0, STYLES * CONTENTS, 32)[index],
        "content": pictures(1, CONTENTS, 32)[content],
        "style": pictures(2, STYLES, 32)[style],
        "artist": style % 3,
        "index": index,
    }


def make():
    network = Pixels()
    metrics = {
        "fid": FrechetDistance(network),
        "kid": KID(network, "jackknife"),
        "cmmd": CMMD(network, "unbiased"),
        "csd": CSD(network),
        "csd_artists": CSD(network, per_artist=True),
        "artfid": ArtFID(network, Gap()),
        "of_contents": KID(network),
    }
    return StyleMetricCollection(metrics, inputs={"of_contents": ("stylized", "content")})


def measured(parts):
    collection = make()
    for part in parts:
        collection.update(**fields(part))
    return collection


EVERY = torch.arange(STYLES * CONTENTS)


def test_the_number_is_that_of_the_folder():
    collection = measured(EVERY.split(7))
    values = collection.compute()
    alone = make().metrics
    for name, metric in alone.items():
        beside = {"content": fields(EVERY)["content"]} if name == "artfid" else {}
        artists = [{"artist": fields(EVERY)["artist"]}, {"artist": torch.arange(STYLES) % 3}]
        sides = artists if name == "csd_artists" else [beside, {}]
        metric.update(fields(EVERY)["stylized"], real=False, **sides[0])
        reference = pictures(1, CONTENTS, 32) if name == "of_contents" else pictures(2, STYLES, 32)
        metric.update(reference, real=True, **sides[1])
        value = metric.compute()
        value = value["kid"] if isinstance(value, dict) else value
        assert abs(float(value) - float(values[f"{name}_embedded"])) < 1e-6 * max(1, abs(float(value))), name
        count = CONTENTS if name == "of_contents" else STYLES
        assert f"30 generated and {count} different reference pictures" in collection.conventions()[f"{name}_embedded"]


def test_without_a_picture_nobody_says_that_they_differ():
    metric = KID(Pixels())
    for real in (False, True):
        metric.update_features({"pool3": pictures(3, 4).flatten(1)}, real=real)
    metric.compute()
    assert "4 generated and 4 reference pictures" in metric.convention
    metric.update(pictures(4, 2), real=True)
    metric.compute()
    assert "4 generated and 6 reference pictures" in metric.convention


# ---- two ranks: the styles of one are also with the other ----------------------------------------------------------

SHARES = {
    "even": (EVERY[::2], EVERY[1::2]),
    "uneven, padded": (EVERY[:23], torch.cat([EVERY[23:], EVERY[:3]])),
    "empty": (EVERY, EVERY[:0]),
}


def by_hand(parts):
    """Return metrics that saw pairs without a collection."""
    found = make().metrics | {"kid": KID(Pixels(), "subsets", subsets=5, subset_size=4)}
    found.pop("of_contents")
    for part in parts:
        pairs = fields(part)
        for name, metric in found.items():
            beside = {"artist": pairs["artist"]} if name == "csd_artists" else {}
            content = {"content": pairs["content"]} if name == "artfid" else {}
            metric.update(pairs["stylized"], real=False, index=part, **beside, **content)
            metric.update(pairs["style"], real=True, index=part, **beside)
    return found


def numbers(metrics):
    """Return every number and size of metrics, after they were computed."""
    values = {name: metric.compute() for name, metric in metrics.items()}
    flat = {name: list(v.values()) if isinstance(v, dict) else [v] for name, v in values.items()}
    return {name: [*map(float, flat[name]), *metric.sizes] for name, metric in metrics.items()}


def both_ways(parts):
    collection = measured(parts)
    values = {key: [float(value)] for key, value in collection.compute().items()}
    return values | {f"{name} alone": found for name, found in numbers(by_hand(parts)).items()}


def rank_main(rank, store, out):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    shares = {name: parts[rank].split(4) if len(parts[rank]) else [] for name, parts in SHARES.items()}
    torch.save({name: both_ways(parts) for name, parts in shares.items()}, f"{out}.{rank}")
    dist.destroy_process_group()


def test_ranks_share_the_references(tmp_path, run_ranks):
    run_ranks(rank_main, str(tmp_path / "store"), str(tmp_path / "out"))
    expected = both_ways(EVERY.split(4))
    assert expected["fid alone"][1:] == [30, STYLES]
    for rank in range(2):
        for found in torch.load(tmp_path / f"out.{rank}").values():
            assert found.keys() == expected.keys()
            for key, values in found.items():
                assert values == pytest.approx(expected[key], rel=1e-6, abs=1e-6), key
