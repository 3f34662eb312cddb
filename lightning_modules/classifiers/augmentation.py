"""Colours and damage that tell nothing about who painted a picture, so that a classifier learns the manner instead.

Random numbers come from a generator on the CPU, whatever device the pictures are on.
"""

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.networks.edges import luma


def jitter_colours(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change exposure, contrast, saturation and white balance of every picture by up to about ``strength``."""

    def factor(channels: int = 1) -> Tensor:
        return random_factors(images, strength, generator, channels)

    exposed = images * factor() * (1 + 0.5 * (factor(3) - 1))
    middle = exposed.mean((1, 2, 3), keepdim=True)
    contrasted = middle + (exposed - middle) * factor()
    grey = luma(contrasted)
    return (grey + (contrasted - grey) * factor()).clamp(0, 1)


def shuffle_colours(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Turn a share of the pictures grey and permute the channels of another, so that palette alone tells nothing."""
    kind = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device)
    permuted = images[:, torch.randperm(3, generator=generator)]
    return torch.where(kind < share, luma(images).expand_as(images), torch.where(kind < 2 * share, permuted, images))


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, add noise or compress a part of the batch, as decoders and file formats do."""
    kind = torch.rand(len(images), generator=generator)
    images = images.clone()
    for index in (kind < 0.2).nonzero().flatten().tolist():
        sigma = 0.3 + 0.7 * float(torch.rand((), generator=generator))
        images[index] = blur(images[index], sigma)
    noisy = ((kind > 0.2) & (kind < 0.4)).nonzero().flatten()
    amount = 0.05 * torch.rand(len(noisy), 1, 1, 1, generator=generator)
    noise = amount * torch.randn(len(noisy), *images.shape[1:], generator=generator)
    images[noisy] += noise.to(images.device)
    for index in (kind > 0.88).nonzero().flatten().tolist():
        images[index] = _jpeg(images[index], int(torch.randint(40, 90, (), generator=generator)))
    return images.clamp(0, 1)


def random_factors(images: Tensor, strength: float, generator: torch.Generator, channels: int = 1) -> Tensor:
    """Return ``(B, channels, 1, 1)`` numbers in [1 - strength, 1 + strength], on the pictures' device."""
    return 1 + strength * (2 * torch.rand(len(images), channels, 1, 1, generator=generator) - 1).to(images.device)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Return a picture ``(3, H, W)`` behind a Gaussian of ``sigma`` pixels, cut off at three of them."""
    radius = min(math.ceil(3 * sigma), min(image.shape[1:]) - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma**2), 0).to(image.device)
    padded = F.pad(image[:, None], (radius,) * 4, mode="reflect")  # 3, 1, H + 2 radius, W + 2 radius
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))[:, 0]


def _jpeg(image: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray((image * 255).round().byte().permute(1, 2, 0).cpu().numpy()).save(buffer, "JPEG", quality=quality)
    pixels = torch.from_numpy(np.asarray(Image.open(buffer)).copy()).to(image.device)
    return pixels.permute(2, 0, 1).float() / 255
