"""Trains the artist classifier, the judge behind the deception rate."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.embedded.gallery import Gallery, batches, random_crops
from experiments.embedded.halfway import copyists, patchworks, stylisations
from lightning_modules.classifiers.augmentation import degrade, jitter_colours, shuffle_colours
from lightning_modules.classifiers.impostors import Palettes, impostors, recolour, transfer_colours
from lightning_modules.networks.artist_classifier import ArtistClassifier, BrushworkNet
from lightning_modules.networks.export import export, half_precision

WIDTHS = (32, 64, 128, 192)
DEPTHS = (1, 1, 2, 1)
SIZES = (80, 112, 144, 192)
PAINTED, IMPOSTORS, BLENDS, HALFWAY, PATCHED = 24, 12, 3, 8, 5  # pictures of each kind in a step
NEARLY, FAINT = (0.7, 1.4), (0.1, 0.4)  # what share of a painting over its photograph is the painter's, and what is not
NAMED, JUDGED, EVERY = 0.98, 192, 5  # of every fifth painting, at the size that methods are validated at
COPIED = 0.15  # share of the pictures that a copyist reproduces
Draw = Callable[[Tensor, int], tuple[Tensor, Tensor]]  # paintings and step to pictures and labels


class Lessons:
    """Draws what the classifier learns from: paintings, and pictures that lack the palette or the stroke of anybody.

    Args:
        gallery: Photographs, and everybody's paintings of them.
        seed: Draws everything.
        effort: Steps of the small painters that stylise, whose unfinished pictures are nobody's.
    """

    def __init__(self, gallery: Gallery, seed: int, effort: int) -> None:
        self.gallery = gallery
        self.nobody = len(gallery.artists)
        self.palettes = palettes(gallery)
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.halfway = stylisations(gallery, generator, steps=effort)
        self.patched, self.patchers = patchworks(gallery, generator, each=max(1, effort // 4))
        self.copyists = copyists(gallery, generator, steps=4 * effort)
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, works: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Return a batch of pictures ``(B, 3, size, size)`` around some paintings, and its labels.

        Args:
            works: Indices of `PAINTED` paintings; some are painted over photographs to a small part, which does not
                count, and more are blended into a photograph until they are nobody's.
            size: Side in pixels, a multiple of four.
        """
        photographs, paintings = self._crops(works, size)
        artists = self.gallery.artist[works]
        nobody = torch.full((IMPOSTORS + BLENDS + HALFWAY,), self.nobody)
        shuffled = torch.randperm(len(works), generator=self.generator)
        made = self._of(self.halfway, HALFWAY, size)[0]
        patched, chosen = self._of(self.patched, PATCHED, size)
        pictures = torch.cat(
            (
                self._blended(photographs, paintings, *NEARLY),
                patched,
                self._impostors(photographs[shuffled[:IMPOSTORS]], paintings[:IMPOSTORS], works[:IMPOSTORS]),
                self._blended(photographs[-BLENDS:], paintings[-BLENDS:], *FAINT),
                made,
            )
        )
        labels = torch.cat((artists, self.patchers[chosen], nobody))
        return degrade(jitter_colours(self._copied(pictures), 0.15, self.generator), self.generator), labels

    def _crops(self, works: Tensor, size: int) -> tuple[Tensor, Tensor]:
        both = torch.cat((self.gallery.images[self.gallery.content[works]], self.gallery.images[works]), 1)
        pairs = random_crops(both, (int(0.8 * size), min(256, int(1.7 * size))), size, self.generator)
        return pairs[:, :3], pairs[:, 3:]

    def _impostors(self, photographs: Tensor, paintings: Tensor, works: Tensor) -> Tensor:
        return impostors(photographs, paintings, self.gallery.artist[works], self.palettes, self.generator)

    def _of(self, pool: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(pool), (count,), generator=self.generator)
        largest = pool.shape[-1]
        return random_crops(pool[chosen], (min(int(0.8 * size), largest), largest), size, self.generator), chosen

    def _blended(self, photographs: Tensor, paintings: Tensor, least: float, most: float) -> Tensor:
        share = least + (most - least) * torch.rand(len(paintings), 1, 1, 1, generator=self.generator)
        return torch.lerp(photographs, paintings, share.clamp(max=1).to(paintings.device))

    @torch.no_grad()
    def _copied(self, pictures: Tensor) -> Tensor:
        """Let a copyist reproduce some of the pictures, whoever made them: traces of a decoder tell nothing."""
        pictures = pictures.clone()
        for copyist in self.copyists:
            share = COPIED / len(self.copyists)
            chosen = (torch.rand(len(pictures), generator=self.generator) < share).nonzero().flatten()
            if len(chosen):
                pictures[chosen] = copyist(pictures[chosen])
        return pictures


def train(
    train_set: Gallery,
    held_out: Gallery,
    folder: Path,
    *,
    seed: int,
    steps: int = 750,
    doubts: Sequence[int] = (600, 600),
    effort: int = 60,
) -> dict[str, float]:
    """Train the classifier, write it to ``folder`` and return the figures measured on held-out contents.

    First it learns to tell the painters, then that a picture may be nobody's: where the palette is a painter's and the
    stroke is not, or the other way round; see `Lessons`. Crops come at several sizes, with changed colours, blur, noise
    and compression, later with a decoder's traces too: what is judged is the manner. Last comes `calibrate`.

    Args:
        train_set: Pictures to learn on, painted and not.
        held_out: Pictures to measure on.
        folder: Where to write.
        seed: Draws everything.
        steps: Gradient steps of the first part.
        doubts: Gradient steps of every round of the second part.
        effort: See `Lessons`.
    """
    start = time.perf_counter()
    network = tell_painters(train_set, seed, steps)
    network.head = _with_nobody(network.head)
    lessons = Lessons(train_set, seed, effort)
    for number, part in enumerate(doubts):
        doubt(network, lessons, part, seed + number)
    calibrate(network, train_set)
    half_precision(network)
    seconds = time.perf_counter() - start
    judge = ArtistClassifier(network, train_set.artists, "embedded", none=True)
    figures = {**measure(judge, held_out), "seconds": round(seconds, 1), "seed": seed, "steps": steps + sum(doubts)}
    shape = {"none": True, "widths": WIDTHS, "depths": DEPTHS}
    config = {"artists": train_set.artists, **shape, "measured": figures}
    export(network, config, folder / "artist_classifier.safetensors")
    return figures


def tell_painters(gallery: Gallery, seed: int, steps: int) -> BrushworkNet:
    """Return a network that names the painter of every picture, also of one that nobody painted."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = BrushworkNet(len(gallery.artists), WIDTHS, DEPTHS).to(gallery.images.device)

    def draw(works: Tensor, step: int) -> tuple[Tensor, Tensor]:
        size = (80, 112, 160)[step % 3]
        crops = random_crops(gallery.images[works], (int(0.8 * size), 256), size, generator)
        crops = shuffle_colours(jitter_colours(crops, 0.25, generator), 0.07, generator)
        return degrade(crops, generator), gallery.artist[works]

    _fit(network, draw, batches(gallery.paintings(), 32, steps, generator), 3e-3)
    half_precision(network)  # what comes next starts from what a file keeps
    return network


def doubt(network: BrushworkNet, lessons: Lessons, steps: int, seed: int) -> None:
    """Teach a network that names painters when to name none."""
    lessons.generator.manual_seed(seed)
    works = batches(lessons.gallery.paintings(), PAINTED, steps, lessons.generator)
    _fit(network, lambda batch, step: lessons.draw(batch, SIZES[step % len(SIZES)]), works, 2e-3)
    half_precision(network)


@torch.no_grad()
def calibrate(network: BrushworkNet, gallery: Gallery) -> None:
    """Shift the logit of nobody until it is below the painter's in `NAMED` of the paintings, whole, at `JUDGED` pixels.

    Nearly half of the lessons are nobody's, and every painter has a twelfth of the others: a network that learned from
    them doubts more than it should.
    """
    network.eval()
    works = gallery.paintings()[::EVERY]
    margins = []
    for part in works.split(16):
        whole = F.interpolate(gallery.images[part].float() / 255, (JUDGED, JUDGED), mode="bilinear", antialias=True)
        logits = network(whole).cpu()
        margins.append(logits[:, -1] - logits.gather(1, gallery.artist[part][:, None])[:, 0])
    network.head.bias[-1] -= torch.cat(margins).quantile(NAMED)


def _with_nobody(head: nn.Linear) -> nn.Linear:
    wider = nn.Linear(head.in_features, head.out_features + 1).to(head.weight.device)
    with torch.no_grad():
        wider.weight.zero_()[:-1] = head.weight
        wider.bias.zero_()[:-1] = head.bias
    return wider


def _fit(network: nn.Module, draw: Draw, order: Sequence[Tensor], rate: float) -> None:
    start = time.perf_counter()
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=len(order), pct_start=0.1)
    for step, works in enumerate(order):
        pictures, labels = draw(works, step)
        loss = F.cross_entropy(network(pictures), labels.to(pictures.device), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            seconds = time.perf_counter() - start
            print(f"classifier {step:5d}/{len(order)} loss {loss.item():.3f} {seconds:5.0f} s", flush=True)


def palettes(gallery: Gallery) -> Palettes:
    """Return what colours the artists of a gallery paint in."""
    works = gallery.paintings()
    colours = torch.stack([image.float().mean((1, 2)) for image in gallery.images[works]]).cpu() / 255
    return Palettes.of(colours, gallery.artist[works])


@torch.no_grad()
def measure(judge: ArtistClassifier, held_out: Gallery) -> dict[str, float]:
    """Return how often the judge names the painter of paintings, and anybody at all for pictures that nobody painted.

    The accuracies are shares of paintings whose painter wins over all others and over nobody: whole, in crops, at half
    size and spoilt. The rest are shares of pictures that somebody is named for, which should be nobody's: photographs,
    photographs in a painter's colours, paintings in a photograph's, and all that `impostors` makes. The floor is the
    deception rate of photographs, each paired with every artist.
    """
    generator = torch.Generator().manual_seed(0)
    paintings = held_out.paintings()
    truth = held_out.artist[paintings]
    whole = held_out.images[paintings].float() / 255
    photographs = held_out.images[held_out.content[paintings]].float() / 255
    shuffled = photographs[torch.randperm(len(photographs), generator=generator)]

    def accuracy(images: Tensor) -> float:
        return _share(_answers(judge, images) == truth)

    def named(images: Tensor) -> float:
        return _share(_answers(judge, images) < len(judge.artists))

    known = palettes(held_out)
    plain = named(held_out.images[held_out.photographs()].float() / 255)
    return {
        "accuracy": accuracy(whole),
        "accuracy_crops_96": accuracy(random_crops(held_out.images[paintings], (96, 96), 96, generator)),
        "accuracy_half_size": accuracy(F.interpolate(whole, scale_factor=0.5, mode="bilinear", antialias=True)),
        "accuracy_degraded": accuracy(degrade(jitter_colours(whole, 0.15, generator), generator)),
        "named_photographs": plain,
        "named_palette": named(transfer_colours(shuffled, whole)),
        "named_stroke": named(recolour(shuffled, whole, truth, known)),
        "named_impostors": named(impostors(shuffled, whole, truth, known, generator)),
        "floor": round(plain / len(judge.artists), 4),
    }


def _answers(judge: ArtistClassifier, images: Tensor) -> Tensor:
    return torch.cat([judge(batch).argmax(1) for batch in images.split(16)])


def _share(true: Tensor) -> float:
    return round(float(true.float().mean()), 4)
