"""ProceduralArt in memory, and the crops that every embedded network trains on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.images import read_image
from lightning_modules.files import csv_rows

PHOTOGRAPH = -1


@dataclass(frozen=True)
class Gallery:
    """One split of ProceduralArt.

    Attributes:
        images: ``(N, 3, S, S)``, uint8.
        artist: Index into `artists` of every picture, `PHOTOGRAPH` for the unpainted contents; ``(N,)``, int64.
        captions: What every picture shows, without a word on how it is painted.
        content: Index of the unpainted picture of the same thing, for every picture; ``(N,)``, int64.
        artists: The artists' names, sorted.
        styles: The technique of every artist, in that order.
    """

    images: Tensor
    artist: Tensor
    captions: tuple[str, ...]
    content: Tensor
    artists: tuple[str, ...]
    styles: tuple[str, ...]

    def paintings(self) -> Tensor:
        """Return the indices of everything that somebody painted."""
        return (self.artist != PHOTOGRAPH).nonzero().flatten()

    def photographs(self) -> Tensor:
        """Return the indices of the contents."""
        return (self.artist == PHOTOGRAPH).nonzero().flatten()


def load_gallery(root: Path, split: str) -> Gallery:
    """Read the folders that ``datamodules.procedural.generate`` wrote."""
    contents = csv_rows(root / split / "contents.csv")
    paintings = csv_rows(root / split / "paintings.csv")
    captions = {Path(row["file"]).stem: row["caption"] for row in contents}
    techniques = {row["artist"]: row["style"] for row in paintings}
    artists = tuple(sorted(techniques))
    numbers = {title: number for number, title in enumerate(captions)}
    images, artist, titles = [], [], []
    for row in [*contents, *paintings]:
        images.append((read_image(root / split / row["file"]) * 255).round().byte())
        artist.append(artists.index(row["artist"]) if "artist" in row else PHOTOGRAPH)
        titles.append(Path(row["file"]).stem)
    styles = tuple(techniques[name] for name in artists)
    shown = tuple(captions[title] for title in titles)
    content = torch.tensor([numbers[title] for title in titles])
    return Gallery(torch.stack(images), torch.tensor(artist), shown, content, artists, styles)


def random_crops(images: Tensor, sides: tuple[int, int], size: int, generator: torch.Generator) -> Tensor:
    """Return one square crop of every picture, all of one random side, flipped at random and resized.

    Args:
        images: ``(B, 3, H, W)``, uint8.
        sides: Shortest and longest side of the crops in pixels.
        size: Side of what is returned, in pixels.
        generator: Draws everything.

    Returns:
        ``(B, 3, size, size)``, float32 in [0, 1].
    """
    side = int(torch.randint(sides[0], sides[1] + 1, (), generator=generator))
    tops = torch.randint(0, images.shape[-2] - side + 1, (len(images),), generator=generator).tolist()
    lefts = torch.randint(0, images.shape[-1] - side + 1, (len(images),), generator=generator).tolist()
    crops = torch.stack(
        [image[:, y : y + side, x : x + side] for image, y, x in zip(images, tops, lefts, strict=True)]
    ).float()
    flipped = (torch.rand(len(crops), 1, 1, 1, generator=generator) < 0.5).to(crops)
    crops = flipped * crops.flip(-1) + (1 - flipped) * crops
    if side != size:
        crops = F.interpolate(crops, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return crops / 255


def batches(indices: Tensor, size: int, steps: int, generator: torch.Generator) -> Sequence[Tensor]:
    """Return ``steps`` batches of ``size`` indices: every index once before any comes again."""
    rounds = -(-steps * size // len(indices))
    order = torch.cat([indices[torch.randperm(len(indices), generator=generator)] for _ in range(rounds)])
    return list(torch.split(order[: steps * size], size))
