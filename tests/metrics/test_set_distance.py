"""Every distance of two sets of pictures, alone and with the traps of torchmetrics."""

import copy
import warnings

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.artfid import ArtFID
from metrics.cmmd import CMMD
from metrics.collection import StyleMetricCollection
from metrics.csd import CSD
from metrics.frechet import FrechetDistance
from metrics.kid import KID


class Extractor(nn.Module):
    """Twelve bent sums of coarse colours, under any name."""

    source = "embedded"
    preprocessing = "8 bits, native size"

    def __init__(self, width=12):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, width, generator=torch.Generator().manual_seed(0)) * 2)

    def forward(self, images, taps):
        assert images.dtype == torch.float32
        vectors = torch.tanh((nn.functional.adaptive_avg_pool2d(images, 2).flatten(1) - 0.5) @ self.weight)
        return dict.fromkeys(taps, vectors)


class Gap(nn.Module):
    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


def pictures(seed, n=9, size=16, light=0.0):
    return (torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) ** 2 + light).clamp(0, 1)


# ---- the definitions, in numpy -----------------------------------------------------------------------------------


def frechet(g, r):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and unhappy with singular matrices
        root = linalg.sqrtm(np.cov(g, rowvar=False) @ np.cov(r, rowvar=False))
    spread = np.trace(np.cov(g, rowvar=False)) + np.trace(np.cov(r, rowvar=False)) - 2 * np.trace(root).real
    return ((g.mean(0) - r.mean(0)) ** 2).sum() + spread


def mmd(g, r, kernel, biased):
    n, m = len(g), len(r)
    off = np.ones((n, n)) if biased else 1 - np.eye(n)
    off_r = np.ones((m, m)) if biased else 1 - np.eye(m)
    within = (kernel(g, g) * off).sum() / off.sum() + (kernel(r, r) * off_r).sum() / off_r.sum()
    return within - 2 * kernel(g, r).mean()


def cubic(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian(x, y):
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    return np.exp(-((x[:, None] - y[None]) ** 2).sum(-1) / 200)


def mean_cosine(g, r):
    r = (r / np.linalg.norm(r, axis=1, keepdims=True)).mean(0)
    return np.mean(g @ r / np.linalg.norm(g, axis=1) / np.linalg.norm(r))


METRICS = {
    "frechet": (lambda: FrechetDistance(Extractor()), frechet),
    "kid": (lambda: KID(Extractor()), lambda g, r: mmd(g, r, cubic, biased=False)),
    "cmmd": (lambda: CMMD(Extractor()), lambda g, r: 1000 * mmd(g, r, gaussian, biased=True)),
    "cmmd_unbiased": (
        lambda: CMMD(Extractor(), "unbiased"),
        lambda g, r: 1000 * mmd(g, r, gaussian, biased=False),
    ),
    "csd": (lambda: CSD(Extractor()), mean_cosine),
}
metrics = pytest.mark.parametrize(("make", "definition"), METRICS.values(), ids=METRICS.keys())


def vectors(images):
    with torch.no_grad():
        return Extractor()(images.float(), ["x"])["x"].double().numpy()


def close(value, expected):
    return abs(float(value) - float(expected)) < 1e-5 * max(1, abs(float(expected)))


def fed(metric, generated, reference, size=100):
    for images, real in ((generated, False), (reference, True)):
        for part in images.split(size):
            metric.update(part, real=real)
    return metric


# ---- the number --------------------------------------------------------------------------------------------------


@metrics
@pytest.mark.parametrize("size", [100, 4, 1])
def test_batches_of_any_size_and_order_give_the_definition(make, definition, size):
    generated, reference = pictures(0, 9, light=0.2), pictures(1, 14, size=20)
    expected = definition(vectors(generated), vectors(reference))
    assert close(fed(make(), generated, reference, size).compute(), expected)
    shuffled = reference[torch.randperm(14, generator=torch.Generator().manual_seed(0))]
    assert close(fed(make(), generated.flip(0), shuffled, size).compute(), expected)


@metrics
def test_a_set_and_itself(make, definition):
    value = float(fed(make(), pictures(0), pictures(0)).compute())
    if isinstance(make(), FrechetDistance) or getattr(make(), "estimator", "") == "biased":
        assert abs(value) < 1e-15  # some processors round one of the sums otherwise
    assert close(value, definition(vectors(pictures(0)), vectors(pictures(0))))


@metrics
def test_constant_pictures(make, definition):
    def of_features(generated, reference):  # equal references would count once
        metric = make()
        metric.update(generated, real=False)
        metric.update_features(Extractor()(reference, metric.taps), real=True)
        return float(metric.compute())

    black, white = torch.zeros(5, 3, 16, 16), torch.ones(7, 3, 16, 16)
    assert close(of_features(black, white), definition(vectors(black), vectors(white)))
    same = of_features(black, black[:3])
    assert abs(same - make().higher_is_better) < 1e-12


@metrics
@pytest.mark.parametrize("kind", [torch.uint8, torch.float16, torch.bfloat16, torch.float64])
def test_types_of_pictures(make, definition, kind):
    generated, reference = (pictures(seed).mul(255).round() for seed in (0, 1))
    if kind != torch.uint8:
        generated, reference = ((x / 255).to(kind) for x in (generated, reference))
        floats = (generated.float(), reference.float())
    else:
        generated, reference = generated.to(kind), reference.to(kind)
        floats = (generated / 255, reference / 255)
    with torch.autocast("cpu", torch.bfloat16):
        value = fed(make(), generated, reference).compute()
    assert value.dtype == torch.float64
    assert close(value, definition(*(vectors(x) for x in floats)))


@metrics
def test_a_repeated_sample_counts_once(make, definition):
    generated, reference = pictures(0, 6), pictures(1, 6)
    metric = make()
    for index in (torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 0, 1])):  # a padded sampler
        metric.update(generated[index], real=False, index=index)
        metric.update(reference[index], real=True, index=index)
    assert close(metric.compute(), definition(vectors(generated), vectors(reference)))
    assert metric.sizes == (6, 6)


@metrics
def test_known_features_count_as_pictures_do(make, definition):
    generated, reference = pictures(0), pictures(1)
    metric = make()
    for images, real in ((generated, False), (reference, True)):
        metric.update_features(Extractor()(images, metric.taps), real=real)
    assert close(metric.compute(), fed(make(), generated, reference).compute())


# ---- torchmetrics ------------------------------------------------------------------------------------------------


@metrics
def test_casts_of_the_parent_networks_and_random_numbers(make, definition):
    parent = nn.Module()
    parent.metric = fed(make(), pictures(0), pictures(1))
    before, state = parent.metric.compute(), torch.get_rng_state()
    parent.to(torch.bfloat16)
    assert parent.state_dict() == {}
    assert list(parent.parameters()) == []
    clone = copy.deepcopy(parent.metric)
    for metric in (parent.metric, clone):
        metric.update(pictures(2).requires_grad_(), real=False)
        metric.update(pictures(3), real=True)
    both = definition(*(np.concatenate([vectors(pictures(x)) for x in seeds]) for seeds in ((0, 2), (1, 3))))
    assert close(parent.metric.compute(), both)
    assert float(clone.compute()) == float(parent.metric.compute())
    assert not parent.metric.compute().requires_grad
    assert torch.equal(state, torch.get_rng_state())
    parent.metric.reset()
    assert parent.metric.sizes is None
    assert float(fed(parent.metric, pictures(0), pictures(1)).compute()) == float(before)


def test_a_collection_does_not_merge_two_forms():
    from torchmetrics import MetricCollection  # needs the shim, which a spawned process has only after our imports

    collection = MetricCollection({"biased": CMMD(Extractor()), "unbiased": CMMD(Extractor(), "unbiased")})
    for images, real in ((pictures(0), False), (pictures(1), True), (pictures(2), True)):
        collection.update(images, real=real)
    values = collection.compute()
    reference = np.concatenate([vectors(pictures(seed)) for seed in (1, 2)])
    for name, value in values.items():
        assert close(value, 1000 * mmd(vectors(pictures(0)), reference, gaussian, biased=name == "biased"))


@metrics
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_too_few_pictures_are_refused(make, definition):
    metric = make()
    with pytest.raises(ImpastoError, match="reference pictures, there are 0"):
        metric.compute()
    if metric.least < 2:
        return
    metric.reset()
    with pytest.raises(ImpastoError, match="at least 2 generated pictures, there are 1"):
        fed(metric, pictures(0)[:1], pictures(1)).compute()


@metrics
def test_bad_pictures_are_refused(make, definition):
    for bad, words in (
        (pictures(0) * 255, r"\[0, 1\]"),
        (pictures(0) * torch.nan, r"\[0, 1\]"),
        (pictures(0)[0], "B, 3, H, W"),
        (pictures(0).long(), "uint8"),
    ):
        with pytest.raises(ImpastoError, match=words):
            make().update(bad, real=False)
        with pytest.raises(ImpastoError, match="style pictures"):
            make().update(bad, real=True)
    with pytest.raises(ImpastoError, match="nan or infinite"):
        make().update_features({make().taps[0]: torch.full((2, 12), torch.nan)}, real=True)


@metrics
def test_the_convention_tells_how_many(make, definition):
    metric = fed(make(), pictures(0, 5), pictures(1, 7))
    assert "reference pictures" not in metric.convention
    metric.compute()
    assert "5 generated and 7 different reference pictures" in metric.convention
    assert "embedded" in metric.convention
    assert "preprocessing 8 bits, native size" in metric.convention
    assert ("(few: " in metric.convention) != isinstance(metric, CSD)
    assert "\n" not in metric.convention


def test_a_collection_feeds_all_in_one_pass():
    extractor = Extractor()
    together = {name: make() for name, (make, _) in METRICS.items()}
    together |= {"kid": KID(extractor, "jackknife"), "csd": CSD(extractor, per_artist=True)}
    collection = StyleMetricCollection(together | {"artfid": ArtFID(extractor, Gap())})
    stylized, content, style = pictures(0), pictures(1), pictures(2)
    artist = torch.arange(9) % 2
    for index in (torch.arange(5), torch.tensor([5, 6, 7, 8, 0])):  # a padded sampler
        fields = {"stylized": stylized, "content": content, "style": style, "artist": artist}
        collection.update(index=index, **{name: values[index] for name, values in fields.items()})
    values = collection.compute()
    for name in ("frechet", "cmmd", "cmmd_unbiased"):
        assert close(values[f"{name}_embedded"], METRICS[name][1](vectors(stylized), vectors(style)))
    assert close(values["kid_embedded"], mmd(vectors(stylized), vectors(style), cubic, biased=False))
    assert float(values["kid_std_embedded"]) > 0
    by_artist = [mean_cosine(vectors(stylized[artist == a]), vectors(style[artist == a])) for a in (0, 1)]
    assert close(values["csd_embedded"], np.mean(by_artist))
    kept = (stylized - content).abs().double().mean()
    assert close(values["artfid_embedded"], (1 + kept) * (1 + frechet(vectors(stylized), vectors(style))))
