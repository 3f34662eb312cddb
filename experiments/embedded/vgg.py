"""Distils the slim VGG-19-shaped encoder from the full-size VGG-16 of `hed`.

The student has a quarter of the channels. For every layer the teacher's most independent channels are chosen (pivoted
QR); each student layer is first fitted to them in closed form on what the student's layers below really produce, then
all layers are tuned together by gradient descent. The fourth convolutions of blocks 3 to 5, which a VGG-16 lacks, start
as the identity and are tuned through the layers above them.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from scipy.linalg import qr
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.embedded.gallery import Gallery, batches, random_crops
from lightning_modules.classifiers.augmentation import jitter_colours
from lightning_modules.networks.export import export, half_precision
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk
from lightning_modules.weights import load_vgg

WIDTHS = (16, 32, 64, 128, 128)
SIZE = 96
_SAMPLES = 30_000  # positions that a closed-form fit looks at


def train(
    train_set: Gallery, held_out: Gallery, folder: Path, *, seed: int, crops: int = 960, steps: int = 450
) -> dict[str, float]:
    """Train the encoder, write it to ``folder`` and return the figures measured on held-out contents.

    Args:
        train_set: Pictures to learn on, painted and not.
        held_out: Pictures to measure on.
        folder: Where to write.
        seed: Draws the crops and their order.
        crops: How many crops the teacher looks at; its answers are kept in memory, about 1.3 MB each.
        steps: Gradient steps.
    """
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    teacher = load_vgg("hed")
    images = torch.cat([_crops(train_set, generator) for _ in range(crops // 24)])
    chosen = choose_channels(teacher, images[:32])
    answers = [_answers(teacher, part, chosen) for part in images.split(24)]
    targets = {layer: torch.cat([answer[layer] for answer in answers]) for layer in chosen}
    print(f"vgg: the teacher looked at {len(images)} crops, {time.perf_counter() - start:.0f} s", flush=True)
    trunk = fit_closed_form(teacher, images[:64], chosen, generator)
    print(f"vgg: closed form fitted, {time.perf_counter() - start:.0f} s", flush=True)
    _tune(trunk, images, targets, steps, generator)
    balance(trunk, images[:128])
    half_precision(trunk)
    seconds = time.perf_counter() - start
    figures = measure(VGGEncoder(trunk, "embedded"), held_out)
    figures |= {"seconds": round(seconds, 1), "seed": seed, "steps": steps}
    export(trunk, {"widths": WIDTHS, "padding": "reflect", "measured": figures}, folder / "vgg.safetensors")
    return figures


def _crops(gallery: Gallery, generator: torch.Generator) -> Tensor:
    """Return 24 crops at one random scale, a third of them of photographs and scenes."""
    plain, painted = gallery.photographs(), gallery.paintings()
    pick = [
        pool[torch.randint(len(pool), (count,), generator=generator)] for pool, count in ((plain, 8), (painted, 16))
    ]
    return jitter_colours(random_crops(gallery.images[torch.cat(pick)], (64, 224), SIZE, generator), 0.3, generator)


@torch.no_grad()
def choose_channels(teacher: VGGEncoder, images: Tensor) -> dict[str, Tensor]:
    """Return for each layer of the teacher the channels that a quarter as wide layer keeps.

    Pivoted QR takes the channel that is worst explained by those already taken, again and again. Channels are first
    divided by the root of their magnitude: loud ones count more, but not all.
    """
    layers = [layer for layer in teacher.channels if layer.startswith("relu")]
    chosen = {}
    for layer, maps in teacher(images, layers).items():
        width = WIDTHS[int(layer[4]) - 1]
        columns = maps.permute(0, 2, 3, 1).flatten(0, 2)  # positions, C
        columns = columns[:: max(1, len(columns) // 8000)]
        columns = columns / columns.square().mean(0).clamp_min(1e-6) ** 0.25
        _, order = qr(columns.numpy(), mode="r", pivoting=True)
        chosen[layer.removeprefix("relu")] = torch.from_numpy(order[:width].copy()).long()
    return chosen


@torch.no_grad()
def _answers(teacher: VGGEncoder, images: Tensor, chosen: dict[str, Tensor]) -> dict[str, Tensor]:
    maps = teacher(images, [f"relu{name}" for name in chosen])
    return {name: maps[f"relu{name}"][:, channels].half() for name, channels in chosen.items()}


@torch.no_grad()
def fit_closed_form(
    teacher: VGGEncoder, images: Tensor, chosen: dict[str, Tensor], generator: torch.Generator
) -> VGGTrunk:
    """Return a student whose every layer is the ridge regression of the teacher's chosen channels on its own input."""
    trunk = VGGTrunk(VGGConfig(widths=WIDTHS, padding="reflect"))
    wanted = teacher(images, [f"conv{name}" for name in chosen])
    x = images.sub(trunk.mean).div(trunk.std)
    for name, conv in _convolutions(trunk):
        if name.endswith("_1") and name != "1_1":
            x = F.max_pool2d(x, 2)
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        if name in chosen:
            weight, bias = _ridge(padded, wanted[f"conv{name}"][:, chosen[name]], generator)
            conv.load_state_dict({"weight": weight, "bias": bias})
        else:
            nn.init.dirac_(conv.weight)
            conv.load_state_dict({"weight": conv.weight, "bias": torch.zeros(conv.out_channels)})
        x = F.relu(conv(padded))
    return trunk


def _ridge(padded: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    each = max(1, _SAMPLES // len(padded))
    rows, answers = [], []
    for picture, answer in zip(padded, target, strict=True):
        at = torch.randperm(answer[0].numel(), generator=generator)[:each]
        rows.append(F.unfold(picture[None], 3)[0].T[at])  # positions, 9 C
        answers.append(answer.flatten(1).T[at])
    x, y = torch.cat(rows).double(), torch.cat(answers).double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    gram = (x - x_mean).T @ (x - x_mean)
    gram += 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solution = torch.linalg.solve(gram, (x - x_mean).T @ (y - y_mean))  # 9 C, width
    weight = solution.T.reshape(target.shape[1], padded.shape[1], 3, 3).float()
    return weight, (y_mean - x_mean @ solution).float()


def _convolutions(trunk: VGGTrunk) -> Iterator[tuple[str, nn.Conv2d]]:
    for name, conv in trunk.convs.items():
        assert isinstance(conv, nn.Conv2d)  # noqa: S101 - for the type checker
        yield name, conv


def _tune(trunk: VGGTrunk, images: Tensor, targets: dict[str, Tensor], steps: int, generator: torch.Generator) -> None:
    """Lower the unexplained share of the variance of every chosen channel, all layers at once."""
    layers = [f"relu{name}" for name in targets]
    spread = {
        name: target[:256].float().var((0, 2, 3), keepdim=True).clamp_min(1e-3) for name, target in targets.items()
    }
    optimizer = torch.optim.Adam(trunk.parameters(), lr=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-4, total_steps=steps, pct_start=0.05)
    start = time.perf_counter()
    for step, batch in enumerate(batches(torch.arange(len(images)), 16, steps, generator)):
        maps = trunk(images[batch], layers)
        losses = torch.stack(
            [
                ((maps[f"relu{name}"] - target[batch].float()).square() / spread[name]).mean()
                for name, target in targets.items()
            ]
        )
        optimizer.zero_grad()
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(trunk.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            shares = " ".join(f"{value:.2f}" for value in losses.tolist())
            print(f"vgg {step:5d}/{steps} unexplained {shares} {time.perf_counter() - start:4.0f} s", flush=True)


@torch.no_grad()
def balance(trunk: VGGTrunk, images: Tensor) -> None:
    """Rescale every layer to a mean activation of one, which changes nothing else.

    A rectifier passes positive factors, so what a convolution gains its successor loses. Losses over several layers
    are then of one size, as with the normalised VGG-19 of Gatys et al. The channels of a layer keep their proportions:
    raising the quiet ones to one as well ends in noise (a plain style optimisation is left with twice the loss).
    """
    layers = {name: f"relu{name}" for name, _ in _convolutions(trunk)}
    maps = trunk(images, list(layers.values()))
    before = 1.0
    for name, conv in _convolutions(trunk):
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
