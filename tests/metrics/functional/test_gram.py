import numpy as np
import pytest
import torch

from metrics.functional import gram
from metrics.functional.gram import GRAM_FORMS, gram_distance, gram_matrix


def maps(seed, channels=4, height=6, width=5, batch=2):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((batch, channels, height, width)) * 3 + 1)


def flat(x):
    return x.double().numpy().reshape(*x.shape[:2], -1)


def expected(features, target, form):
    total = 0
    for name in features:
        x, y = flat(features[name]), flat(target[name])
        channels = x.shape[1]
        gap = np.einsum("bip,bjp->bij", x, x) / x.shape[2] - np.einsum("bip,bjp->bij", y, y) / y.shape[2]
        total += {
            "johnson": ((gap / channels) ** 2).mean((1, 2)),
            "hw": (gap**2).mean((1, 2)),
            "gatys": ((gap / channels) ** 2).sum((1, 2)) / 4,
            "frobenius": np.linalg.norm(gap / channels, axis=(1, 2)),
        }[form]
    return total


@pytest.mark.parametrize("form", GRAM_FORMS)
@pytest.mark.parametrize("slab", [1, 2**26])
def test_against_numpy(form, slab, monkeypatch):
    monkeypatch.setattr(gram, "CHUNK_BYTES", slab)
    features = {"a": maps(0), "b": maps(1, 2, 4, 4)}
    target = {"a": maps(2, 4, 9, 3), "b": maps(3, 2, 4, 7)}
    np.testing.assert_allclose(gram_distance(features, target, form), expected(features, target, form), rtol=1e-11)


def test_gatys_as_printed():
    x, y = maps(0), maps(1)
    n, m = 4, 30
    gaps = [a @ a.T - b @ b.T for a, b in zip(flat(x), flat(y), strict=True)]
    literal = [(gap**2).sum() / (4 * n**2 * m**2) for gap in gaps]
    np.testing.assert_allclose(gram_distance({"a": x}, {"a": y}, "gatys"), literal, rtol=1e-11)


@pytest.mark.parametrize("form", GRAM_FORMS)
def test_equal_maps_are_exactly_zero(form):
    for x in (maps(0).float(), torch.full((1, 3, 4, 4), 7.0), torch.zeros(1, 3, 1, 1), maps(0, 64, 1, 3)):
        assert float(gram_distance({"a": x}, {"a": x.clone()}, form).max()) == 0


def test_repeating_a_picture_keeps_its_matrix():
    x = maps(0)
    np.testing.assert_allclose(gram_matrix(x), gram_matrix(x.repeat(1, 1, 3, 2)), rtol=1e-12)


def test_half_precision_maps_do_not_overflow():
    x, y = (maps(seed).half() * 300 for seed in (0, 1))  # products near 1e6, beyond float16
    value = gram_distance({"a": x}, {"a": y})
    np.testing.assert_allclose(value, expected({"a": x}, {"a": y}, "johnson"), rtol=1e-11)


def test_memory_format_does_not_matter():
    x, y = maps(0), maps(1)
    strided = {"a": x.contiguous(memory_format=torch.channels_last)}
    np.testing.assert_allclose(gram_distance(strided, {"a": y}), gram_distance({"a": x}, {"a": y}), rtol=1e-12)


def test_weights():
    features, target = {"a": maps(0), "b": maps(1)}, {"a": maps(2), "b": maps(3)}
    single = [gram_distance({name: features[name]}, {name: target[name]}) for name in features]
    np.testing.assert_allclose(gram_distance(features, target, weights=[0.5, 2]), 0.5 * single[0] + 2 * single[1])
