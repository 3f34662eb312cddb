"""Trains the slim VGG-19-shaped encoder: textures from the full-size VGG-16 of `hed`, light and colour from decoders.

Three quarters of a layer's channels are distilled, see `distilling`; the others carry the picture. They start as its
pixels, averaged to the grid of their layer, and learn what three decoders need to paint the picture again.
"""

import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.embedded.distilling import WIDTHS, Teacher, convolutions, start
from experiments.embedded.gallery import Gallery, random_crops
from experiments.embedded.inversion import LAYERS as INVERTED
from experiments.embedded.inversion import Decoders, measure_inversion
from lightning_modules.classifiers.augmentation import jitter_colours
from lightning_modules.networks.export import export, half_precision
from lightning_modules.networks.vgg import VGGEncoder, VGGTrunk

SIZE = 80
_BATCH = 16
_GROUP = 4  # crops of one scale in a batch
_RATES = (2e-4, 2e-3)  # of the encoder and of the decoders


def train(train_set: Gallery, held_out: Gallery, folder: Path, *, seed: int, steps: int = 450) -> dict[str, float]:
    """Train the encoder, write it to ``folder`` and return the figures measured on held-out contents.

    Args:
        train_set: Pictures to learn on, painted and not.
        held_out: Pictures to measure on.
        folder: Where to write.
        seed: Draws the crops and what the decoders start from.
        steps: Gradient steps.
    """
    begin = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    images = torch.cat([_crops(train_set, 12, 96, generator) for _ in range(8)])
    teacher = Teacher(images)
    trunk = start(teacher, images, generator)
    print(f"vgg: closed form fitted, {time.perf_counter() - begin:.0f} s", flush=True)
    _tune(trunk, teacher, train_set, steps, generator)
    balance(trunk, images)
    half_precision(trunk)
    seconds = time.perf_counter() - begin
    encoder = VGGEncoder(trunk, "embedded")
    figures = measure(encoder, held_out) | measure_inversion(encoder, train_set, held_out, seed=seed)
    figures |= {"seconds": round(seconds, 1), "seed": seed, "steps": steps}
    shape = {"widths": WIDTHS, "padding": trunk.config.padding, "pooling": trunk.config.pooling}
    export(trunk, shape | {"measured": figures}, folder / "vgg.safetensors")
    return figures


def _crops(gallery: Gallery, count: int, size: int, generator: torch.Generator) -> Tensor:
    """Return crops at one random scale, half of them of photographs and scenes."""
    pools = (gallery.photographs(), gallery.paintings())
    pick = torch.cat([pool[torch.randint(len(pool), (count // 2,), generator=generator)] for pool in pools])
    return jitter_colours(random_crops(gallery.images[pick], (64, 224), size, generator), 0.3, generator)


def _tune(trunk: VGGTrunk, teacher: Teacher, train_set: Gallery, steps: int, generator: torch.Generator) -> None:
    """Lower what the distilled channels do not explain and what the decoders lose, all layers at once."""
    layers = [f"relu{name}" for name in teacher.chosen]
    decoders = Decoders({layer: WIDTHS[int(layer[4]) - 1] for layer in INVERTED})
    groups = [{"params": net.parameters(), "lr": rate} for net, rate in zip((trunk, decoders), _RATES, strict=True)]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, list(_RATES), total_steps=steps, pct_start=0.15)
    begin = time.perf_counter()
    for step in range(steps):
        clean = torch.cat([_crops(train_set, _GROUP, SIZE, generator) for _ in range(_BATCH // _GROUP)])
        clean = _blend(clean, generator)
        seen = _noisy(clean, generator)
        maps = trunk(seen, layers)
        unexplained, lost = teacher.unexplained(seen, maps), decoders.loss(maps, clean)
        optimizer.zero_grad()
        (unexplained.mean() + lost).backward()
        nn.utils.clip_grad_norm_(trunk.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 0:
            shares = " ".join(f"{value:.2f}" for value in [*unexplained.tolist(), lost.item()])
            took = time.perf_counter() - begin
            print(f"vgg {step:5d}/{steps} unexplained and, last, lost {shares} {took:4.0f} s", flush=True)


def _blend(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures, a quarter of them mixed with another: what an optimisation meets on its way."""
    shape = (len(images), 1, 1, 1)
    chosen = torch.rand(shape, generator=generator) < 0.25
    share = 0.5 * chosen * torch.rand(shape, generator=generator)
    return images + share * (images[torch.randperm(len(images), generator=generator)] - images)


def _noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures, some of them with noise: an encoder that never met it is not offended by it either."""
    shape = (len(images), 1, 1, 1)
    chosen = torch.rand(shape, generator=generator) < 0.3
    noise = torch.randn(images.shape, generator=generator)
    return (images + 0.2 * chosen * torch.rand(shape, generator=generator) * noise).clamp(0, 1)


@torch.no_grad()
def balance(trunk: VGGTrunk, images: Tensor) -> None:
    """Rescale every layer to a mean activation of one, which changes nothing else.

    A rectifier passes positive factors, so what a convolution gains its successor loses. Losses over several layers
    are then of one size, as with the normalised VGG-19 of Gatys et al. The channels of a layer keep their proportions:
    raising the quiet ones to one as well ends in noise (a plain style optimisation is left with twice the loss).
    """
    layers = {name: f"relu{name}" for name, _ in convolutions(trunk)}
    maps = trunk(images, list(layers.values()))
    before = 1.0
    for name, conv in convolutions(trunk):
        mean = float(maps[layers[name]].mean())
        conv.weight.mul_(before / mean)
        if conv.bias is not None:
            conv.bias.div_(mean)
        before = mean


@torch.no_grad()
def measure(encoder: VGGEncoder, held_out: Gallery) -> dict[str, float]:
    """Return how well Gram matrices alone tell the artists apart: nearest neighbour among other contents.

    Crops are grey, so that palettes do not help; chance is one in the number of artists.
    """
    painted = held_out.paintings()
    images = held_out.images[painted][..., 64:192, 64:192].float().mean(1, keepdim=True).expand(-1, 3, -1, -1) / 255
    truth, shown = held_out.artist[painted], [held_out.captions[index] for index in painted.tolist()]
    layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    parts = [encoder(batch, layers) for batch in images.split(32)]
    vectors = []
    for layer in layers:
        maps = torch.cat([part[layer] for part in parts]).flatten(2)
        vectors.append(F.normalize((maps @ maps.transpose(1, 2)).flatten(1), dim=1))
    joined = torch.cat(vectors, 1)
    likeness = joined @ joined.T
    same_content = torch.tensor([[one == other for other in shown] for one in shown])
    nearest = likeness.masked_fill(same_content, -1).argmax(1)
    return {"gram_neighbour": round(float((truth[nearest] == truth).float().mean()), 4)}
