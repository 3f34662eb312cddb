import numpy as np
import pytest
import torch

from metrics.functional.style_distance import style_distance


def maps(seed, channels, height, width):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((2, channels, height, width)) * 3 + 2)


def test_against_numpy():
    features = {"a": maps(0, 3, 6, 5), "b": maps(1, 2, 4, 4)}
    target = {"a": maps(2, 3, 9, 4), "b": maps(3, 2, 4, 7)}
    expected = np.zeros(2)
    for layer in features:
        x, y = (m[layer].numpy().reshape(2, m[layer].shape[1], -1) for m in (features, target))
        expected += ((x.mean(2) - y.mean(2)) ** 2).mean(1)
        spreads = [np.sqrt(z.var(2, ddof=1) + 1e-5) for z in (x, y)]
        expected += ((spreads[0] - spreads[1]) ** 2).mean(1)
    np.testing.assert_allclose(style_distance(features, target).numpy(), expected, rtol=1e-12)


def test_equal_maps_are_exactly_zero():
    for features in (maps(0, 3, 6, 5).float(), torch.full((1, 3, 4, 4), 7.0)):
        assert float(style_distance({"a": features}, {"a": features}).max()) == 0


def test_large_offsets_keep_their_digits():
    features = maps(0, 2, 64, 64)
    shifted = {"a": (features + 1e4).float()}
    value = style_distance(shifted, {"a": (features * 2 + 1e4).float()})
    expected = style_distance({"a": features + 1e4}, {"a": features * 2 + 1e4})
    np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=1e-3)


def test_a_single_pixel_is_refused():
    with pytest.raises(ValueError, match="single-pixel"):
        style_distance({"a": torch.zeros(1, 2, 1, 1)}, {"a": torch.zeros(1, 2, 1, 1)})
