"""Compare ways to train the embedded perceptual encoder: distilling a VGG-16 beside decoders, and classifying.

python -m benchmarks.encoder_training --steps 900 --iterations 100 --pictures pictures.png

The rival has the committed encoder's architecture and learns to name the painter from the means and deviations of five
layers, on the same crops; both are then balanced alike, and a random trunk stands beside them; `--also` adds encoders
from files. Each encoder drives a plain style optimisation of a photograph (AdaIN's style loss at five layers, content
at relu4_1). The judge is the embedded artist classifier, which shares no layer with any of them: the share of pictures
that it takes for the painter whose picture was the style. The table also has the share of grey crops whose nearest
neighbour by Gram matrices has the same painter, and what fresh decoders recover of held-out contents from relu2_1,
relu3_1 and relu4_1, in dB: whole, and in the means of 16 x 16 pixels, which are tone and colour alone.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules.images import write_image
from datamodules.procedural import generate
from experiments.embedded.distilling import WIDTHS
from experiments.embedded.gallery import Gallery, batches, load_gallery, random_crops
from experiments.embedded.inversion import measure_inversion
from experiments.embedded.vgg import SIZE, balance, measure
from lightning_modules.losses.content import content_loss
from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.losses.style import style_loss
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk
from lightning_modules.weights import load_artist_classifier, load_vgg
from lightning_modules.weights.vgg import read_slim_vgg

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = ("relu4_1",)
PYRAMID = (1, 2, 4, 8, 16, 32)  # pixels a side


def random_trunk(seed: int) -> VGGTrunk:
    """Return an untrained trunk of the embedded encoder's shape."""
    torch.manual_seed(seed)
    trunk = VGGTrunk(VGGConfig(widths=WIDTHS, padding="reflect", pooling="mean"))
    for parameter in trunk.convs.parameters():
        if parameter.ndim == 1:
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return trunk


def classify(gallery: Gallery, steps: int, seed: int) -> VGGTrunk:
    """Train a trunk to name painters from the channel statistics of every layer that style losses use."""
    generator = torch.Generator().manual_seed(seed)
    trunk = random_trunk(seed)
    heads = nn.ModuleList(nn.Linear(2 * width, len(gallery.artists)) for width in WIDTHS)
    parameters = [*trunk.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    for batch in batches(gallery.paintings(), 24, steps, generator):
        crops = random_crops(gallery.images[batch], (64, 224), SIZE, generator)
        maps = trunk(crops, LAYERS)
        logits = [
            head(torch.cat(channel_statistics(maps[n]), 1).flatten(1)) for head, n in zip(heads, LAYERS, strict=True)
        ]
        loss = torch.stack([F.cross_entropy(answer, gallery.artist[batch]) for answer in logits]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    return trunk


def optimise(encoder: VGGEncoder, content: Tensor, style: Tensor, iterations: int) -> Tensor:
    """Return pictures ``(B, 3, H, W)`` that were moved from the contents towards the styles.

    What moves is a pyramid of changes, from single pixels to blocks of 32: steps of single pixels alone, which Adam
    makes equally long, turn to noise before a sky has found its colour.
    """
    known, target = encoder(content, CONTENT), encoder(style, LAYERS)
    scale = float(style_loss(encoder(content, LAYERS), target))
    height, width = content.shape[-2:]
    changes = [torch.zeros(*content.shape[:2], height // k, width // k, requires_grad=True) for k in PYRAMID]
    optimizer = torch.optim.Adam(changes, lr=0.01)
    for _ in range(iterations):
        maps = encoder(_changed(content, changes), LAYERS)
        loss = style_loss(maps, target) / scale + 0.02 * content_loss(maps, known, CONTENT)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _changed(content, changes).detach()


def _changed(content: Tensor, changes: Sequence[Tensor]) -> Tensor:
    sized = [F.interpolate(part, size=content.shape[-2:], mode="bilinear", align_corners=False) for part in changes]
    return (content + torch.stack(sized).sum(0)).clamp(0, 1)


def main() -> None:
    """Train, optimise, print the table, write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=30, help="training steps of the rival; 900 are as long as distilling"
    )
    parser.add_argument("--iterations", type=int, default=40, help="of every optimisation of pixels; 150 show strokes")
    parser.add_argument("--data", type=Path, default=Path("data/procedural-embedded"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="vgg.safetensors of other encoders")
    parser.add_argument("--pictures", type=Path, help="write the optimised pictures, a row per encoder")
    options = parser.parse_args()
    counts = {"train": 240, "val": 24, "test": 24}
    root = generate(options.data, contents_per_split=counts, seed=options.seed + 1)
    train_set, held_out = load_gallery(root, "train"), load_gallery(root, "test")

    start = time.process_time()
    rival = classify(train_set, options.steps, options.seed)
    print(f"classifying took {time.process_time() - start:.0f} CPU s for {options.steps} steps", flush=True)
    crops = train_set.images[train_set.paintings()[:128], :, :SIZE, :SIZE].float() / 255
    encoders = {"committed": load_vgg("embedded")}
    for name, trunk in (("classified", rival), ("random", random_trunk(options.seed))):
        balance(trunk, crops)
        encoders[name] = VGGEncoder(trunk, name)

    encoders |= {str(path): read_slim_vgg(path, str(path)) for path in options.also}

    firsts = [int((held_out.artist == artist).nonzero()[5]) for artist in range(len(held_out.artists))]
    style = held_out.images[firsts, :, 64:192, 64:192].float() / 255
    photographs = held_out.photographs()[torch.arange(len(firsts)) * 2 % len(held_out.photographs())]
    content = held_out.images[photographs, :, 64:192, 64:192].float() / 255
    judge, truth = load_artist_classifier("embedded"), torch.arange(len(firsts))
    rows = [content, style]
    for name, encoder in encoders.items():
        painted = optimise(encoder, content, style, options.iterations)
        rows.append(painted)
        with torch.no_grad():
            rate = float((judge(painted).argmax(1) == truth).double().mean())
        neighbour = measure(encoder, held_out)["gram_neighbour"]
        recovered = list(measure_inversion(encoder, train_set, held_out, seed=options.seed).values())
        whole, blocks = ("/".join(f"{value:.1f}" for value in recovered[first::2]) for first in (0, 1))
        print(
            f"{name:<24} taken for the painter {rate:.3f}   Gram neighbour {neighbour:.3f}   "
            f"recovered {whole} dB, blocks {blocks} dB",
            flush=True,
        )
    if options.pictures:
        write_image(torch.cat([torch.cat(list(row), 2) for row in rows], 1), options.pictures)


if __name__ == "__main__":
    main()
