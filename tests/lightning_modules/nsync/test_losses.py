import math

import pytest
import torch

from lightning_modules.nsync.losses import denoising_loss, diffuse, min_snr_weights, velocity


def latents(seed):
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(seed))


def test_noise_and_velocity_are_those_of_diffusers(parts):
    steps = torch.tensor([0, 500, 999])
    x, e = latents(0), latents(1)
    kept = parts.scheduler.alphas_cumprod[steps]
    assert torch.allclose(diffuse(x, e, kept), parts.scheduler.add_noise(x, e, steps), atol=1e-6)
    assert torch.allclose(velocity(x, e, kept), parts.scheduler.get_velocity(x, e, steps), atol=1e-6)


@pytest.mark.parametrize("of_velocity", [False, True])
def test_weights_are_their_literal_form(of_velocity):
    kept = [0.0, 0.001, 0.3, 0.8, 0.9, 0.9999]
    found = min_snr_weights(torch.tensor(kept), 5.0, of_velocity=of_velocity)
    for share, weight in zip(kept, found.tolist(), strict=True):
        snr = share / (1 - share)
        epsilon = min(snr, 5.0) / snr if snr else 1.0
        assert math.isclose(weight, min(snr, 5.0) / (snr + 1) if of_velocity else epsilon, rel_tol=1e-3, abs_tol=1e-9)


def test_the_loss_is_a_mean_in_single_precision():
    prediction, target = latents(0), latents(1)
    squares = [((p - t) ** 2).double().mean() for p, t in zip(prediction, target, strict=True)]
    assert torch.allclose(denoising_loss(prediction, target).double(), sum(squares) / 3)
    weights = torch.tensor([1.0, 0.0, 0.5])
    assert torch.allclose(denoising_loss(prediction, target, weights).double(), (squares[0] + squares[2] / 2) / 3)
    assert denoising_loss(prediction.bfloat16(), target).dtype == torch.float32
