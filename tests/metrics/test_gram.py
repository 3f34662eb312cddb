import copy

import numpy as np
import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.functional.gram import GRAM_FORMS
from metrics.gram import GramDistance


class Maps(nn.Module):
    """Two maps: the picture and its differences across; counts its passes."""

    source = "embedded"

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.passes = 0

    def forward(self, images, taps):
        self.passes += 1
        found = {"pixels": images * self.gain, "edges": images[..., 1:] - images[..., :-1], "other": images}
        return {tap: found[tap] for tap in taps}


def pictures(seed, n=5, height=32, width=32):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def make(**options):
    return GramDistance(Maps(), layers=["pixels", "edges"], **options)


def expected(a, b, weights=(1, 1)):
    values = np.zeros(len(a))
    for (x, y), weight in zip(((a, b), (a[..., 1:] - a[..., :-1], b[..., 1:] - b[..., :-1])), weights, strict=True):
        grams = [
            np.einsum("bchw,bdhw->bcd", m, m) / (3 * m.shape[2] * m.shape[3])
            for m in (x.double().numpy(), y.double().numpy())
        ]
        values += weight * ((grams[0] - grams[1]) ** 2).mean((1, 2))
    return values.mean()


@pytest.mark.parametrize("splits", [(5,), (1, 4), (2, 2, 1)])
def test_batches_of_any_size_give_one_mean(splits):
    a, b = pictures(0), pictures(1, height=40, width=33) ** 2
    metric = make()
    for part_a, part_b in zip(a.split(splits), b.split(splits), strict=True):
        metric.update(part_a, part_b)
    np.testing.assert_allclose(float(metric.compute()), expected(a, b), rtol=1e-5)


def test_weights():
    a, b = pictures(0), pictures(1) ** 2
    metric = make(weights=[0.2, 3])
    metric.update(a, b)
    np.testing.assert_allclose(float(metric.compute()), expected(a, b, (0.2, 3)), rtol=1e-5)


@pytest.mark.parametrize("form", GRAM_FORMS)
def test_equal_pictures_are_exactly_zero_in_any_type(form):
    for images in (pictures(0), pictures(0).half(), (pictures(0) * 255).byte(), torch.ones(1, 3, 32, 32)):
        metric = make(form=form)
        with torch.autocast("cpu", torch.bfloat16):
            metric.update(images, images.clone())
        assert float(metric.compute()) == 0
        assert GRAM_FORMS[form] in metric.convention


def test_features_of_a_shared_pass_count_the_same():
    a, b = pictures(0), pictures(1) ** 2
    metric, plain = make(), make()
    plain.update(a, b)
    network = metric.extractor
    metric.update_features(*(network(x, ["other", "edges", "pixels"]) for x in (a, b)))
    assert network.passes == 2
    assert float(metric.compute()) == float(plain.compute())


def test_casts_copies_and_checkpoints():
    parent = nn.Module()
    parent.metric = make()
    parent.metric.update(pictures(0), pictures(1) ** 2)
    before = float(parent.metric.compute())
    parent.to(torch.bfloat16).half()
    parent.metric.update(pictures(0), pictures(1) ** 2)
    assert abs(float(parent.metric.compute()) - before) < 1e-12
    assert copy.deepcopy(parent.metric).extractor is parent.metric.extractor
    assert parent.state_dict() == {}
    assert list(parent.parameters()) == []


def test_bad_input_is_refused_in_one_sentence():
    for a, b, words in [
        (pictures(0), pictures(1, n=4), "5 stylized pictures and 4 styles"),
        (pictures(0), pictures(1, height=31), "at least 32"),
        (pictures(0) - 1, pictures(1), r"stylized pictures must lie in \[0, 1\]"),
    ]:
        with pytest.raises(ImpastoError, match=words):
            make().update(a, b)
    with pytest.raises(ImpastoError, match="3 weights for 2 layers"):
        make(weights=[1, 2, 3])
