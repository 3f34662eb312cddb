"""Trains the artist classifier, the judge behind the deception rate."""

import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.embedded.gallery import Gallery, batches, random_crops
from lightning_modules.classifiers.augmentation import degrade, jitter_colours, shuffle_colours
from lightning_modules.networks.artist_classifier import ArtistClassifier, BrushworkNet
from lightning_modules.networks.export import export, half_precision

WIDTHS = (32, 64, 128, 192)
DEPTHS = (1, 1, 2, 1)


def train(train_set: Gallery, held_out: Gallery, folder: Path, *, seed: int, steps: int = 750) -> dict[str, float]:
    """Train the classifier, write it to ``folder`` and return the figures measured on held-out contents.

    It sees crops of 64 to 256 pixels, resized to three sizes, with changed colours, blur, noise and compression: a
    decoder's output should be judged by its manner, not by its size or the traces of the decoder.
    """
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = BrushworkNet(len(train_set.artists), WIDTHS, DEPTHS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    for step, batch in enumerate(batches(train_set.paintings(), 32, steps, generator)):
        size = (80, 112, 160)[step % 3]
        crops = random_crops(train_set.images[batch], (int(0.8 * size), 256), size, generator)
        crops = shuffle_colours(jitter_colours(crops, 0.25, generator), 0.07, generator)
        loss = F.cross_entropy(network(degrade(crops, generator)), train_set.artist[batch], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(
                f"classifier {step:5d}/{steps} loss {loss.item():.3f} {time.perf_counter() - start:5.0f} s", flush=True
            )
    half_precision(network)
    seconds = time.perf_counter() - start
    judge = ArtistClassifier(network, train_set.artists, "embedded")
    figures = {**measure(judge, held_out), "seconds": round(seconds, 1), "seed": seed, "steps": steps}
    config = {"artists": train_set.artists, "widths": WIDTHS, "depths": DEPTHS, "measured": figures}
    export(network, config, folder / "artist_classifier.safetensors")
    return figures


@torch.no_grad()
def measure(judge: ArtistClassifier, held_out: Gallery) -> dict[str, float]:
    """Return the judge's accuracy on whole paintings, on crops and on spoilt pictures, and the floor.

    The floor is the deception rate of untouched photographs: the share that passes for the artist it is paired with,
    where every photograph is paired with every artist, which is 1/A exactly whatever the judge says. ``floor_largest``
    is therefore the share of the artist whom photographs most resemble.
    """
    generator = torch.Generator().manual_seed(0)
    paintings = held_out.paintings()
    truth = held_out.artist[paintings]

    def accuracy(images: Tensor) -> float:
        return round(float((_answers(judge, images) == truth).float().mean()), 4)

    whole = held_out.images[paintings].float() / 255
    answers = _answers(judge, held_out.images[held_out.photographs()].float() / 255)
    counts = torch.bincount(answers, minlength=len(judge.artists)).float()
    return {
        "accuracy": accuracy(whole),
        "accuracy_crops_96": accuracy(random_crops(held_out.images[paintings], (96, 96), 96, generator)),
        "accuracy_half_size": accuracy(F.interpolate(whole, scale_factor=0.5, mode="bilinear", antialias=True)),
        "accuracy_degraded": accuracy(degrade(jitter_colours(whole, 0.2, generator), generator)),
        "floor": round(1 / len(judge.artists), 4),
        "floor_largest": round(float(counts.max() / counts.sum()), 4),
    }


def _answers(judge: ArtistClassifier, images: Tensor) -> Tensor:
    return torch.cat([judge(batch).argmax(1) for batch in images.split(16)])
