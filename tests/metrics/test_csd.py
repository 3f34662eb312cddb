import math

import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.csd import CSD
from metrics.functional.style_vector import FORMS


class Colours(nn.Module):
    source = "embedded"

    def forward(self, images, taps):
        return {tap: images.mean((2, 3)) - 0.4 for tap in taps}


def pictures(seed, n):
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) ** 1.2


def unit(row):
    length = math.sqrt(math.fsum(x * x for x in row))
    return [x / length for x in row]


def similarity(generated, reference, form):
    generated, reference = (
        [unit(row) for row in Colours()(images, ["style"])["style"].double().tolist()]
        for images in (generated, reference)
    )
    mean_g, mean_r = ([math.fsum(c) / len(c) for c in zip(*rows, strict=True)] for rows in (generated, reference))
    dot = math.fsum(x * y for x, y in zip(mean_g, mean_r, strict=True))
    length_g, length_r = (math.sqrt(math.fsum(x * x for x in mean)) for mean in (mean_g, mean_r))
    return dot / {"mean_cosine": length_r, "mean_to_mean": length_g * length_r, "pairwise": 1}[form]


forms = pytest.mark.parametrize("form", FORMS)


@forms
def test_artist_by_artist_is_the_mean_of_artists(form):
    generated, reference = pictures(0, 7), pictures(1, 8)
    whose_g, whose_r = torch.tensor([0, 2, 2, 0, 5, 2, 4]), torch.tensor([2, 2, 0, 0, 0, 3, 4, 2])
    metric = CSD(Colours(), form, per_artist=True)
    for part in (slice(0, 3), slice(3, 9)):
        metric.update(generated[part], real=False, artist=whose_g[part])
        metric.update(reference[part], real=True, artist=whose_r[part])
    value = float(metric.compute())
    expected = {a: similarity(generated[whose_g == a], reference[whose_r == a], form) for a in (0, 2, 4)}
    assert metric.by_artist.keys() == expected.keys()
    assert all(abs(metric.by_artist[a] - expected[a]) < 1e-6 for a in expected)
    assert abs(value - sum(expected.values()) / 3) < 1e-6
    assert "mean over 3 artists on both sides" in metric.convention
    metric.reset()
    assert metric.by_artist == {}


def test_a_shared_pass_brings_the_artists():
    generated, reference, whose = pictures(0, 5), pictures(1, 5), torch.tensor([0, 1, 0, 1, 1])
    alone, shared = CSD(Colours(), per_artist=True), CSD(Colours(), per_artist=True)
    for real, images in ((False, generated), (True, reference)):
        alone.update(images, real=real, artist=whose)
    sides = [Colours()(images, shared.taps) for images in (generated, reference)]
    shared.update_shared(*sides, {"artist": whose, "index": torch.arange(5)})
    assert float(shared.compute()) == float(alone.compute())
    with pytest.raises(ImpastoError, match="one artist"):
        shared.update_shared(*sides, {})


def test_a_reference_of_two_artists_counts_for_both_and_once_for_each():
    generated, reference = pictures(0, 4), pictures(1, 4)
    whose, rows = torch.tensor([0, 0, 1, 1, 0, 1]), torch.tensor([0, 1, 2, 0, 0, 2])
    metric = CSD(Colours(), per_artist=True)
    metric.update(generated, real=False, artist=torch.tensor([0, 1, 0, 1]))
    metric.update(reference[rows], real=True, artist=whose)
    metric.compute()
    assert metric.sizes == (4, 4)
    sets = {0: reference[[0, 1]], 1: reference[[2, 0]]}
    for artist, value in metric.by_artist.items():
        assert abs(value - similarity(generated[artist::2], sets[artist], "mean_cosine")) < 1e-6


@forms
def test_the_ceiling_is_that_of_halves(form):
    reference = pictures(1, 9)
    metric = CSD(Colours(), form)
    metric.update_features(Colours()(reference, metric.taps), real=True, index=torch.arange(9))
    assert abs(float(metric.ceiling()) - similarity(reference[::2], reference[1::2], form)) < 1e-6
    metric.reset()
    metric.update(reference[:1], real=True)
    with pytest.raises(ImpastoError, match="at least 2 reference pictures"):
        metric.ceiling()


@forms
def test_forms_are_named(form):
    metric = CSD(Colours(), form)
    metric.update(pictures(0, 5), real=False)
    metric.update(pictures(1, 4), real=True)
    assert abs(float(metric.compute()) - similarity(pictures(0, 5), pictures(1, 4), form)) < 1e-6
    assert len({CSD(Colours(), other).convention for other in FORMS}) == 3


@forms
def test_the_value_is_the_mean_of_what_intervals_are_made_of(form):
    metric = CSD(Colours(), form=form)
    metric.update(pictures(2, 6), real=False)
    metric.update(pictures(3, 5), real=True)
    if form == "mean_to_mean":
        assert metric.resampled() is None
        return
    values, units = metric.resampled()
    assert values.std() > 0
    assert units.tolist() == list(range(6))
    assert float(values.mean()) == pytest.approx(float(metric.compute()), abs=1e-12)


def test_identity_is_one():
    metric = CSD(Colours(), "mean_to_mean")
    for real in (False, True):
        metric.update(pictures(0, 5), real=real)
    assert float(metric.compute()) == 1


def test_artists_must_be_given_and_shared():
    metric = CSD(Colours(), per_artist=True)
    for artist in (None, torch.tensor([1]), torch.tensor([0, 1, -1]), torch.tensor([0, 1, 2**24])):
        with pytest.raises(ImpastoError, match="one artist, 0 or more and below 16777216, for every picture"):
            metric.update(pictures(0, 3), real=False, artist=artist)
    metric.update(pictures(0, 3), real=False, artist=torch.tensor([0, 0, 1]))
    metric.update(pictures(0, 3), real=True, artist=torch.tensor([2, 3, 2]))
    with pytest.raises(ImpastoError, match="both generated and reference"):
        metric.compute()
    with pytest.raises(ImpastoError, match="no form of style similarity 'mean'"):
        CSD(Colours(), "mean")
