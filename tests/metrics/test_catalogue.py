import pytest

from lightning_modules.errors import ImpastoError
from metrics.base import PictureMetric
from metrics.catalogue import CATALOGUE, Judges, find, make_metrics

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


def test_variants_differ_in_their_convention(metrics):
    lines = [metric.convention for metric in metrics.values()]
    assert len(set(lines)) == len(lines)


def test_an_unknown_name_is_one_sentence_and_loads_nothing():
    judges = Judges("pretrained")
    with pytest.raises(ImpastoError, match=r"no metric 'gramm' \(did you mean 'gram'\?\)"):
        make_metrics(["lpips", "gramm"], judges)
    with pytest.raises(ImpastoError, match="no metric 'zzz'; there are"):
        find("zzz")
    with pytest.raises(ImpastoError, match="no weights 'own': choose auto"):
        Judges("own")
