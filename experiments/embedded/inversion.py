"""How much of a picture an encoder's maps still hold: decoders that paint it again from them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.embedded.gallery import Gallery, random_crops
from lightning_modules.networks.vgg import VGGEncoder

LAYERS = ("relu2_1", "relu3_1", "relu4_1")
_SIZE = 80
_VARIANCE = 0.06  # of a photograph's channels, in squared [0, 1] units
_TONE = 2.0


class Decoders(nn.Module):
    """Two convolutions for each of `LAYERS`, which turn its maps into the picture.

    Small on purpose: what they recover, the maps hold in plain sight.

    Args:
        channels: Channels of every layer, as in `VGGEncoder`.
    """

    def __init__(self, channels: dict[str, int]) -> None:
        super().__init__()
        self.of = nn.ModuleDict({layer: _decoder(channels[layer], 2 ** (int(layer[4]) - 1)) for layer in LAYERS})

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the picture painted from each layer, ``(B, 3, H, W)``."""
        return {layer: decoder(maps[layer]) for layer, decoder in self.of.items()}

    def loss(self, maps: dict[str, Tensor], pictures: Tensor) -> Tensor:
        """Return the share of the pictures' variance that is lost, averaged over the layers.

        ``mean_l (|D_l - x|^2 + 2 |blocks(D_l) - blocks(x)|^2) / 0.06``, where blocks are means of 8 x 8 pixels: tone
        and colour, which would else be a small part of the error.
        """
        terms = []
        for painted in self(maps).values():
            detail = F.mse_loss(painted, pictures)
            tone = F.mse_loss(F.avg_pool2d(painted, 8), F.avg_pool2d(pictures, 8))
            terms.append(detail + _TONE * tone)
        return torch.stack(terms).mean() / _VARIANCE


def _decoder(channels: int, stride: int) -> nn.Sequential:
    width = max(32, channels // 2)
    last = nn.Conv2d(width, 3 * stride**2, 3, padding=1, padding_mode="reflect")
    nn.init.zeros_(last.weight)  # starts as one grey, not with noise that the encoder would answer to
    nn.init.constant_(last.bias, 0.45)  # type: ignore[arg-type]
    first = nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect")
    return nn.Sequential(first, nn.ReLU(), last, nn.PixelShuffle(stride))


def measure_inversion(
    encoder: VGGEncoder, train_set: Gallery, held_out: Gallery, *, seed: int, steps: int = 300
) -> dict[str, float]:
    """Return how well fresh decoders recover held-out contents from each layer, in dB.

    Args:
        encoder: Any; its maps are divided by their spread first.
        train_set: Pictures that the decoders learn on.
        held_out: Pictures whose contents are recovered.
        seed: Draws decoders and crops.
        steps: Training steps of the decoders.

    Returns:
        ``inversion_relu2_1`` and so on, the peak signal-to-noise ratio of pictures; ``inversion_relu2_1_blocks``, of
        the means of 16 x 16 pixels, that is of tone and colour alone.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoders = Decoders(encoder.channels)
    optimizer = torch.optim.Adam(decoders.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    unpainted = train_set.photographs()
    scales = {layer: maps.std() for layer, maps in _maps(encoder, _contents(train_set)[:32]).items()}
    for _ in range(steps):
        drawn = unpainted[torch.randint(len(unpainted), (12,), generator=generator)]
        crops = random_crops(train_set.images[drawn], (64, 224), _SIZE, generator)
        maps = {layer: value / scales[layer] for layer, value in _maps(encoder, crops).items()}
        optimizer.zero_grad()
        decoders.loss(maps, crops).backward()
        optimizer.step()
        schedule.step()
    pictures, figures = _contents(held_out), {}
    with torch.no_grad():
        painted = decoders({layer: value / scales[layer] for layer, value in _maps(encoder, pictures).items()})
    for layer, result in painted.items():
        figures[f"inversion_{layer}"] = _decibels(result.clamp(0, 1), pictures)
        blocks = (F.avg_pool2d(part, 16) for part in (result.clamp(0, 1), pictures))
        figures[f"inversion_{layer}_blocks"] = _decibels(*blocks)
    return figures


def _contents(gallery: Gallery) -> Tensor:
    return gallery.images[gallery.photographs()][..., 80:176, 80:176].float() / 255


@torch.no_grad()
def _maps(encoder: VGGEncoder, pictures: Tensor) -> dict[str, Tensor]:
    maps: dict[str, Tensor] = encoder(pictures, LAYERS)
    return maps


def _decibels(a: Tensor, b: Tensor) -> float:
    errors = (a - b).square().mean((1, 2, 3)).clamp_min(1e-8)
    return round(float(-10 * errors.log10().mean()), 2)
