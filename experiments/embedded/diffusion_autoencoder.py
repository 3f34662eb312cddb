"""Trains the autoencoder of the embedded pipeline, and brings its latents to the deviation that noise expects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.embedded.diffusion_pictures import Studies
from experiments.embedded.gallery import batches
from experiments.embedded.unfinished import Unfinished
from lightning_modules.networks.vgg import VGGEncoder
from lightning_modules.weights import load_vgg

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

BATCH, RATE = 6, 2e-3
COLOUR, TEXTURE, SPREAD = 2.0, 0.1, 1e-6  # of colours, features and the divergence, beside the pixels' one
LAYERS = ("relu1_1", "relu2_1", "relu3_1")


def train_autoencoder(vae: AutoencoderKL, studies: Studies, state: Path, *, seed: int, steps: int) -> float:
    """Train an autoencoder in place, or go on with it, and return the seconds of CPU time that it took.

    The loss is |x - D(z)| on pixels in [-1, 1] + `COLOUR` times the same on means of 4 x 4 pixels (else shapes are
    learned in grey first) + `SPREAD` KL(q(z|x), N(0, 1)), z ~ q(z|x).

    Args:
        vae: With random weights.
        studies: Pictures.
        state: Where to keep what is unfinished.
        seed: Draws everything.
        steps: Of `BATCH` pictures.
    """
    start_as_chain(vae)

    def loss_of(images: Tensor, generator: torch.Generator) -> Tensor:
        posterior = vae.encode(images).latent_dist
        again = vae.decode(posterior.sample(generator=generator)).sample
        return _error(again, images) + SPREAD * posterior.kl().mean()

    return _train("autoencoder", vae, loss_of, studies, state, seed=seed, steps=steps)


def train_decoder(vae: AutoencoderKL, studies: Studies, state: Path, *, seed: int, steps: int) -> float:
    """Go on with the decoder alone, for latents that stay what they are, and return the seconds of CPU time.

    The loss is `train_autoencoder`'s without the divergence + `TEXTURE` |F(x) - F(D(z))| on features of the embedded
    VGG.
    """
    encoder = load_vgg("embedded")

    def loss_of(images: Tensor, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            latents = vae.encode(images).latent_dist.sample(generator=generator)
        again = vae.decode(latents).sample
        return _error(again, images) + TEXTURE * _texture(encoder, again, images)

    return _train("decoder", vae.decoder, loss_of, studies, state, seed=seed, steps=steps)


def _train(
    name: str,
    network: nn.Module,
    loss_of: Callable[[Tensor, torch.Generator], Tensor],
    studies: Studies,
    state: Path,
    *,
    seed: int,
    steps: int,
) -> float:
    network.requires_grad_(True).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.0, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    order = batches(torch.arange(len(studies)), BATCH, steps, generator)
    progress = Unfinished(state, {"network": network, "optimizer": optimizer, "schedule": schedule}, generator)
    recent: list[float] = []
    for batch in order[progress.step :]:
        images = studies.images[batch].float() / 127.5 - 1
        loss = loss_of(images.contiguous(memory_format=torch.channels_last), generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent = [*recent[-99:], loss.item()]
        if progress.step % 100 == 0:
            print(f"{name} {progress.step:5d}/{steps} loss {sum(recent) / len(recent):.4f}", flush=True)
        progress.done()
    progress.write()
    network.requires_grad_(False)
    return round(progress.cpu_seconds, 1)


@torch.no_grad()
def start_as_chain(vae: AutoencoderKL) -> None:
    """Let all residual branches start at nothing: what is left is a short chain of convolutions, which learns fast."""
    for module in vae.modules():
        if hasattr(module, "conv_shortcut") and hasattr(module, "conv2"):
            module.conv2.weight.zero_()
            module.conv2.bias.zero_()


def _error(again: Tensor, images: Tensor) -> Tensor:
    difference = again - images
    return difference.abs().mean() + COLOUR * F.avg_pool2d(difference, 4).abs().mean()


def _texture(encoder: VGGEncoder, again: Tensor, images: Tensor) -> Tensor:
    with torch.no_grad():
        wanted = encoder((images + 1) / 2, LAYERS)
    found = encoder((again + 1) / 2, LAYERS)
    return torch.stack([(found[name] - wanted[name]).abs().mean() for name in LAYERS]).mean()


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of the latents of pictures ``(N, 3, S, S)`` in uint8, not scaled."""
    parts = [vae.encode(batch.float() / 127.5 - 1).latent_dist for batch in images.split(64)]
    return torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts])


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Return what comes back of pictures, ``(N, 3, S, S)``, float32 in [0, 1]."""
    mean, _ = encode(vae, images)
    return torch.cat([vae.decode(part).sample for part in mean.split(64)]).clamp(-1, 1) / 2 + 0.5


@torch.no_grad()
def standardise(vae: AutoencoderKL, images: Tensor) -> None:
    """Bring every channel of the latents to zero mean and, times the scaling factor, unit deviation.

    The two 1x1 convolutions around the latents take it up, so no picture changes: noise then hides all channels alike,
    and a sampler starts from what training ended with.

    Args:
        vae: With quantising convolutions.
        images: To measure on, ``(N, 3, S, S)``, uint8.
    """
    mean, _ = encode(vae, images)
    centre = mean.mean((0, 2, 3))
    scale = mean.std((0, 2, 3)) * vae.config.scaling_factor  # z -> (z - centre) / scale
    channels = len(centre)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.bias[:channels].sub_(centre).div_(scale)
    before.weight[:channels].div_(scale.view(-1, 1, 1, 1))
    before.bias[channels:].sub_(2 * scale.log())  # log variances
    after.bias.add_((after.weight.flatten(1) * centre).sum(1))
    after.weight.mul_(scale.view(1, -1, 1, 1))


def psnr(one: Tensor, other: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio of pictures in [0, 1], in dB."""
    return round(float(-10 * F.mse_loss(one, other, reduction="none").mean((1, 2, 3)).log10().mean()), 2)
