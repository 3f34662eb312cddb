import numpy as np
import torch

from lightning_modules.networks.noise import StyledNoise, place_noise


def literal(seed, row, column):
    """The hash of one place, in whole numbers that never overflow."""
    x = (row * 0x9E3779B1 + column * 0x85EBCA77 + seed * 0xC2B2AE3D) % 2**32
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    x ^= x >> 16
    return (((x >> 8) + 0.5) / 2**23 - 1) * 3**0.5


def test_every_place_is_the_hash_of_its_seed_row_and_column():
    seeds = [0, 7, 2**31 - 1]
    noise = place_noise(torch.tensor(seeds), 5, 9)
    assert noise.shape == (3, 1, 5, 9)
    assert noise.dtype == torch.float32
    expected = [[[literal(seed, row, column) for column in range(9)] for row in range(5)] for seed in seeds]
    assert np.allclose(noise[:, 0].double().numpy(), expected, atol=1e-6)


def test_noise_is_white_of_mean_0_and_variance_1_and_independent_of_other_seeds():
    one, other = place_noise(torch.tensor([3, 4]), 256, 256).double().squeeze(1)
    bound = 5 / 256  # five standard errors
    assert abs(float(one.mean())) < bound
    assert abs(float(one.var()) - 1) < bound
    assert float(one.abs().max()) <= 3**0.5 + 1e-6
    for shift in ((0, 1), (1, 0), (1, 1), (5, -3)):
        assert abs(float((one * one.roll(shift, (0, 1))).mean())) < bound, shift
    assert abs(float((one * other).mean())) < bound
    spectrum = torch.fft.fft2(one).abs().square() / one.numel()
    assert float(spectrum.max()) < 16  # of 65536 exponential values of mean 1 the largest is about 11


def test_a_larger_map_begins_with_the_smaller_one():
    seed = torch.tensor([11])
    assert torch.equal(place_noise(seed, 40, 30)[..., :16, :24], place_noise(seed, 16, 24))


def test_the_style_sets_the_strength_in_every_channel():
    noise = StyledNoise(4, 3, number=2)
    maps, style, seed = torch.randn(2, 3, 6, 5), torch.randn(2, 4), torch.tensor([1, 9])
    strength = style @ noise.strength.weight.T + noise.strength.bias
    expected = maps + strength[..., None, None] * place_noise(seed + 2, 6, 5)
    assert torch.allclose(noise(maps, style, seed), expected, atol=1e-6)


def test_a_window_has_the_noise_of_its_place():
    seed = torch.tensor([5, 9])
    whole = place_noise(seed, 12, 20)
    assert torch.equal(place_noise(seed, 3, 7, (6, 11)), whole[..., 6:9, 11:18])
    layer = StyledNoise(4, 3, number=2)
    maps, style = torch.rand(2, 3, 12, 20), torch.rand(2, 4)
    window = layer(maps[..., 6:9, 11:18], style, seed, (6, 11))
    assert torch.allclose(window, layer(maps, style, seed)[..., 6:9, 11:18])
