"""Makes the autoencoder of the embedded pipeline: an encoder in closed form, and a decoder that learns to undo it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.embedded.diffusion_pictures import Studies
from experiments.embedded.gallery import batches
from experiments.embedded.unfinished import Unfinished
from lightning_modules.networks.vgg import VGGEncoder
from lightning_modules.weights import load_vgg

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

BATCH, RATE = 32, 2e-3
TEXTURE = 0.1  # of the encoder's features, beside the pixels' one
LAYERS = ("relu1_1", "relu2_1", "relu3_1")
LIFT = 12.0  # of half the channels before the encoder's last normalisation, which then no longer depends on the picture
LIFT_BACK = 4.0
SURE = -7.0  # log variance of latents of unit deviation


@torch.no_grad()
def set_encoder(vae: AutoencoderKL, images: Tensor) -> None:
    """Make the latents the principal components of blocks of 4 x 4 pixels, and let the decoder start from their means.

    Residual branches add nothing, two strided convolutions gather the 48 numbers of a block, and the normalisation
    before the last convolution is made affine by constants that it cannot tell from the picture. A component's
    deviation becomes the square root of what it is in pixels, times one factor for all: unit variance in the mean, and
    fine texture is quieter than colour, so that noise hides it first.

    Args:
        vae: With random weights, three levels and one group in each normalisation.
        images: To measure on, ``(N, 3, S, S)``, uint8.
    """
    count = vae.config.latent_channels
    mean, deviation, vectors = _components(images, count)
    for module in vae.modules():
        if hasattr(module, "conv_shortcut") and hasattr(module, "conv2"):
            _clear(module.conv2)
    _gather(vae.encoder, mean, deviation, vectors)
    loud = deviation.sqrt()
    loud = loud / loud.square().mean().sqrt() / vae.config.scaling_factor
    _clear(vae.quant_conv)
    vae.quant_conv.weight[range(count), range(count)] = loud.view(-1, 1, 1)
    vae.quant_conv.bias[count:] = SURE + 2 * loud.log()
    _clear(vae.post_quant_conv)
    vae.post_quant_conv.weight[range(count), range(count)] = 1 / loud.view(-1, 1, 1)
    _spread(vae.decoder, mean, deviation, vectors)


def _components(images: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean block, the deviations of the loudest components and their directions, ``(count, 48)``."""
    blocks = F.pixel_unshuffle(F.pixel_unshuffle(images.float() / 127.5 - 1, 2), 2).permute(0, 2, 3, 1).flatten(0, 2)
    mean = blocks.mean(0)
    values, vectors = torch.linalg.eigh((blocks - mean).double().T.cov())
    return mean, values[-count:].flip(0).sqrt().float(), vectors[:, -count:].flip(1).T.float()


def _gather(encoder: Any, mean: Tensor, deviation: Tensor, vectors: Tensor) -> None:
    """Write components of unit deviation into the means of the latents."""
    count = len(deviation)
    _pass(encoder.conv_in, 3)
    first, second, third = encoder.down_blocks
    _clear(down := first.downsamplers[0].conv)
    for colour in range(3):
        for place in range(4):
            down.weight[4 * colour + place, colour, place // 2, place % 2] = 1
    _pass(second.resnets[0].conv_shortcut, 12)
    _clear(down := second.downsamplers[0].conv)
    rows = vectors / deviation[:, None]
    down.weight[:count, :12, :2, :2] = rows.view(count, 12, 2, 2)
    down.bias[:count] = -rows @ mean
    _pass(third.resnets[0].conv_shortcut, count)
    _lift(encoder.mid_block.resnets[-1].conv2, encoder.conv_norm_out, LIFT)
    _pass(encoder.conv_out, count)
    encoder.conv_out.bias[:count] = -LIFT


def _spread(decoder: Any, mean: Tensor, deviation: Tensor, vectors: Tensor) -> None:
    """Let the decoder start as the mean colour of every block; what it learns is added to that."""
    of_blocks = vectors.view(-1, 3, 16).mean(2).T * deviation  # 3, components
    decoder.conv_in.weight[:3] = 0
    decoder.conv_in.weight[:3, : len(deviation), 1, 1] = of_blocks
    decoder.conv_in.bias[:3] = mean.view(3, 16).mean(1)
    for block in decoder.up_blocks:
        shortcut = block.resnets[0].conv_shortcut
        for conv in (shortcut, *(sampler.conv for sampler in block.upsamplers or ())):
            if conv is not None:
                _keep(conv, 3)
    _lift(decoder.up_blocks[-1].resnets[-1].conv2, decoder.conv_norm_out, LIFT_BACK)
    _pass(decoder.conv_out, 3)
    decoder.conv_out.bias[:] = -LIFT_BACK


def _clear(conv: Any) -> None:
    conv.weight.zero_()
    conv.bias.zero_()


def _pass(conv: Any, channels: int) -> None:
    """Let a convolution hand its first channels on and nothing else."""
    _clear(conv)
    _keep(conv, channels)


def _keep(conv: Any, channels: int) -> None:
    """Let a convolution hand its first channels on; what it does to the others stays."""
    middle = conv.weight.shape[-1] // 2
    conv.weight[:channels] = 0
    conv.bias[:channels] = 0
    conv.weight[range(channels), range(channels), middle, middle] = 1


def _lift(conv: Any, norm: Any, lift: float) -> None:
    """Let a normalisation keep light and contrast: beside such constants the picture hardly changes mean and scale."""
    half = len(conv.bias) // 2
    conv.bias[:half], conv.bias[half:] = lift, -lift
    norm.weight.fill_(lift)
    norm.bias.zero_()


def train_decoder(
    vae: AutoencoderKL, studies: Studies, state: Path, *, seed: int, steps: int, batch: int = BATCH
) -> float:
    """Train the decoder in place, or go on with it, and return the seconds of CPU time that it took.

    The loss is |x - D(z)| on pixels in [-1, 1] + `TEXTURE` |F(x) - F(D(z))| on features of the embedded VGG, z drawn
    from q(z|x).

    Args:
        vae: With an encoder that stays what it is.
        studies: Pictures.
        state: Where to keep what is unfinished.
        seed: Draws everything.
        steps: Of ``batch`` pictures.
        batch: Pictures a step.
    """
    device = vae.device
    encoder = load_vgg("embedded").to(device)
    network = vae.decoder.requires_grad_(True).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.0, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    generator = torch.Generator(device).manual_seed(seed)
    order = batches(torch.arange(len(studies)), batch, steps, torch.Generator().manual_seed(seed))
    progress = Unfinished(state, {"network": network, "optimizer": optimizer, "schedule": schedule}, generator)
    total = torch.zeros((), device=device)
    for chosen in order[progress.step :]:
        images = studies.images[chosen].to(device).float() / 127.5 - 1
        with torch.no_grad():
            posterior = vae.encode(images).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator, device=device)
        again = vae.decode(posterior.mean + posterior.std * noise).sample
        pixels = (again - images).abs().mean()
        loss = pixels + TEXTURE * _texture(encoder, again, images)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += pixels.detach()
        progress.done()
        if progress.step % 100 == 0:
            print(f"decoder {progress.step:5d}/{steps} pixels {float(total) / 100:.4f}", flush=True)
            total.zero_()
    progress.write()
    network.requires_grad_(False)
    return round(progress.cpu_seconds, 1)


def _texture(encoder: VGGEncoder, again: Tensor, images: Tensor) -> Tensor:
    with torch.no_grad():
        wanted = encoder((images + 1) / 2, LAYERS)
    found = encoder((again + 1) / 2, LAYERS)
    return torch.stack([(found[name] - wanted[name]).abs().mean() for name in LAYERS]).mean()


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of the latents of pictures ``(N, 3, S, S)`` in uint8, not scaled, on the VAE's device.

    In full single precision on GPUs, too: the encoder's constants are large beside what they carry.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        parts = [vae.encode(batch.to(vae.device).float() / 127.5 - 1).latent_dist for batch in images.split(64)]
    return torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts])


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Return what comes back of pictures, ``(N, 3, S, S)``, float32 in [0, 1]."""
    mean, _ = encode(vae, images)
    return torch.cat([vae.decode(part).sample for part in mean.split(64)]).clamp(-1, 1) / 2 + 0.5


def psnr(one: Tensor, other: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio of pictures in [0, 1], in dB."""
    return round(float(-10 * F.mse_loss(one, other, reduction="none").mean((1, 2, 3)).log10().mean()), 2)
