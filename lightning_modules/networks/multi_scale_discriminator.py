"""Patch discriminators on a picture and on smaller copies of it."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError


class PatchDiscriminator(nn.Sequential):
    """Four strided convolutions and a map of patch logits.

    Args:
        width: Channels of the first layer; doubled by each of the next three.
    """

    def __init__(self, width: int) -> None:
        widths = [width * 2**layer for layer in range(4)]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))


class MultiScaleDiscriminator(nn.Module):
    """Equal patch discriminators on the picture and on smaller copies of it.

    Args:
        scales: Number of discriminators.
        width: See `PatchDiscriminator`.

    Source: Wang et al. 2018 (pix2pixHD), section 3.2; public ContraAST code, ``MultiDiscriminator``.
    """

    def __init__(self, scales: int = 3, width: int = 64) -> None:
        super().__init__()
        self.models = nn.ModuleList(PatchDiscriminator(width) for _ in range(scales))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Judge pictures ``(B, 3, H, W)``; patch logits ``(B, 1, h, w)`` of every scale, finest first.

        Raises:
            ImpastoError: If the smallest copy ends in no patch, or in a single one, whose instance norm is nothing.
        """
        height, width = images.shape[-2:]
        short = 16 * 2 ** (len(self.models) - 1)
        if min(height, width) < short or max(height, width) < 2 * short:
            raise ImpastoError(
                f"Pictures of {width}x{height} pixels are too small for {len(self.models)} discriminators, which need "
                f"a shorter side of at least {short} and a longer one of {2 * short}: raise data.size, or lower "
                "model.discriminator_scales."
            )
        scores = []
        for scale, model in enumerate(self.models):
            if scale:
                images = F.avg_pool2d(images, 3, 2, 1, count_include_pad=False)
            scores.append(model(images))
        return scores
