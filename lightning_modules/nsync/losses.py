"""The denoising loss of a latent diffusion model, in single precision whatever the network's is."""

import torch
from torch import Tensor


def diffuse(latents: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Return latents with noise: ``x_t = sqrt(alpha_t) x + sqrt(1 - alpha_t) e``.

    Args:
        latents: x, ``(..., C, h, w)``.
        noise: e, of the same shape.
        kept: ``alpha_t``, the share of the signal's power that is left, ``(...)``.

    Source: Ho et al. 2020, eq. 4.
    """
    kept = kept[..., None, None, None]
    return kept.sqrt() * latents + (1 - kept).sqrt() * noise


def velocity(latents: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Return what a network for ``v_prediction`` predicts: ``sqrt(alpha_t) e - sqrt(1 - alpha_t) x``.

    Arguments are those of `diffuse`.

    Source: Salimans and Ho 2022, appendix D.
    """
    kept = kept[..., None, None, None]
    return kept.sqrt() * noise - (1 - kept).sqrt() * latents


def min_snr_weights(kept: Tensor, gamma: float, *, of_velocity: bool = False) -> Tensor:
    """Return the weight of every sample: ``min(snr, gamma) / snr``, of a velocity ``min(snr, gamma) / (snr + 1)``.

    ``snr = alpha_t / (1 - alpha_t)``.

    Args:
        kept: ``alpha_t``, any shape.
        gamma: Where steps with less noise stop counting more; 5 is the authors'.
        of_velocity: What the network predicts.

    Source: Hang et al. 2023, section 3.4.
    """
    snr = kept / (1 - kept)
    return snr.clamp(max=gamma) / (snr + 1) if of_velocity else (gamma / snr).clamp(max=1)  # 1 where nothing is left


def denoising_loss(prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean square error over channels and places, then over samples.

    Args:
        prediction: ``(B, C, h, w)``, any precision.
        target: Of the same shape.
        weights: Of every sample, ``(B,)``.

    Source: NSYNC, eq. 1.
    """
    errors = (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))
    return torch.mean(errors if weights is None else weights * errors)
