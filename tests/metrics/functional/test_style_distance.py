import math

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


def equation_1(features, target):
    """ContraAST's eq. 1, loop by loop."""
    values = []
    for row in range(2):
        total = 0.0
        for layer in features:
            sides = []
            for maps_of in (features, target):
                channels = [channel.flatten().tolist() for channel in maps_of[layer][row]]
                means = [math.fsum(c) / len(c) for c in channels]
                spread = [math.fsum((x - m) ** 2 for x in c) for c, m in zip(channels, means, strict=True)]
                sides.append((means, [math.sqrt(s / (len(c) - 1)) for s, c in zip(spread, channels, strict=True)]))
            for ours, theirs in zip(*sides, strict=True):
                total += math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(ours, theirs, strict=True)))
        values.append(total)
    return values


def test_contraasts_first_equation():
    features = {"a": maps(0, 3, 6, 5), "b": maps(1, 2, 4, 4)}
    target = {"a": maps(2, 3, 9, 4), "b": maps(3, 2, 4, 7)}
    np.testing.assert_allclose(style_distance(features, target, "l2"), equation_1(features, target), rtol=1e-12)


def test_an_eps_of_ones_own():
    features, target = {"a": maps(0, 3, 6, 5)}, {"a": maps(2, 3, 9, 4) / 1000}
    assert torch.equal(style_distance(features, target), style_distance(features, target, eps=1e-5))
    assert torch.equal(style_distance(features, target, "l2"), style_distance(features, target, "l2", eps=0))
    assert (
        float((style_distance(features, target, "l2", 1e-5) - style_distance(features, target, "l2")).abs().min()) > 0
    )


@pytest.mark.parametrize("form", ["mse", "l2"])
def test_equal_maps_are_exactly_zero(form):
    for features in (maps(0, 3, 6, 5).float(), torch.full((1, 3, 4, 4), 7.0)):
        assert float(style_distance({"a": features}, {"a": features}, form).max()) == 0


def test_large_offsets_keep_their_digits():
    features = maps(0, 2, 64, 64)
    shifted = {"a": (features + 1e4).float()}
    value = style_distance(shifted, {"a": (features * 2 + 1e4).float()})
    expected = style_distance({"a": features + 1e4}, {"a": features * 2 + 1e4})
    np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=1e-3)


def test_a_single_pixel_is_refused():
    with pytest.raises(ValueError, match="single-pixel"):
        style_distance({"a": torch.zeros(1, 2, 1, 1)}, {"a": torch.zeros(1, 2, 1, 1)})
