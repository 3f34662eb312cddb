"""What the embedded pipeline learns from: small pictures of ProceduralArt, and what one would write to get them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.procedural import PAINTERS, paint
from datamodules.procedural.contents import Split, content, photograph_number
from experiments.embedded.gallery import PHOTOGRAPH
from lightning_modules.networks.edges import LUMA

HELD_OUT = ("Juno Maelstrom", "Lucia Papel")
"""Never seen by the pipeline, neither pictures nor names: what is left for a method to learn."""
SEEN = tuple(name for name in PAINTERS if name not in HELD_OUT)
SIDE = 64  # pixels, of what is painted and learned: strokes keep their size, so that they can be seen

CATEGORIES: dict[str, tuple[str, ...]] = {
    "painting": SEEN,
    "illustration": ("Bruno Carbone", "Dominic Vitrail", "Elin Facet", "Gustav Raster", "Igor Benday"),
    "animation": ("Elin Facet", "Gustav Raster", "Igor Benday"),
    "impressionism": ("Ada Stipple", "Clara Umber"),
    "watercolor": ("Henrike Aquarell",),
}
"""Words for many painters at once, as a negative prompt uses them."""
LEADS = ("", "", "a painting of ", "a painting of ", "a picture of ", "a photo of ")
PHOTO_LEADS = ("", "a photo of ", "a photo of ", "a photograph of ", "a picture of ")
DARK = {"black": "161412", "blue": "16358a", "green": "145c3a", "red": "9a1c1c", "purple": "4f2472", "brown": "502c14"}
LIGHT = {
    "white": "f8f6f0",
    "yellow": "f5e04f",
    "gold": "e3b02f",
    "orange": "f0943a",
    "pink": "f3aaba",
    "grey": "b9bdc2",
}
"""Colours by name, for pictures that are printed in two of them."""
RECOLOURED = 1 / 6
Works = tuple[np.ndarray[Any, np.dtype[np.uint8]], str]
"""A content with its paintings, and what they show."""
BY_NIGHT = {"a city skyline under a dusk sky": "a city at night"}


@dataclass(frozen=True)
class Studies:
    """Small pictures and what they are.

    Attributes:
        images: ``(N, 3, S, S)``, uint8.
        artist: Index into `SEEN`, or `PHOTOGRAPH`; ``(N,)``, int64.
        shown: What each shows, such as ``"the sea under a grey sky"``.
    """

    images: Tensor
    artist: Tensor
    shown: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.shown)


def make_studies(
    split: Split, count: int, *, seed: int, artists: Sequence[str] = SEEN, recoloured: float = 0.0, workers: int = 1
) -> Studies:
    """Paint small contents of a split, every one by every artist.

    Args:
        split: Of ProceduralArt.
        count: Contents; of the photographs among them every second is left out.
        seed: Of the data set.
        artists: Who paints.
        recoloured: Share of the pictures, photographs among them, that are printed in two colours instead of their own
            and described so: a pipeline that knows palettes apart from painters can be shown a new one.
        workers: Processes that paint; the pictures are the same for any number.
    """
    images, artist, shown = [], [], []
    for works, words in _painted(partial(_works, split, seed=seed, artists=artists), range(count), workers):
        images.append(works)
        artist += [PHOTOGRAPH, *range(len(artists))]
        shown += [words] * len(works)
    studies = Studies(torch.from_numpy(np.concatenate(images)), torch.tensor(artist), tuple(shown))
    return _recoloured(studies, recoloured, torch.Generator().manual_seed(seed))


def _painted(paint_one: Callable[[int], Works | None], numbers: range, workers: int) -> Iterator[Works]:
    if workers == 1:
        yield from filter(None, map(paint_one, numbers))
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from filter(None, pool.map(paint_one, numbers, chunksize=32))


def _works(split: Split, number: int, *, seed: int, artists: Sequence[str]) -> Works | None:
    """Return a content and its paintings, ``(1 + artists, 3, S, S)``, and what they show; None if it is left out."""
    photograph = photograph_number(split, number)
    if photograph is not None and photograph % 2:
        return None
    picture = content(split, number, SIDE, seed)
    works = np.stack([picture.image, *(paint(picture, name, seed) for name in artists)])
    pixels = np.rint(works.clip(0, 1) * 255).astype(np.uint8).transpose(0, 3, 1, 2)
    return pixels, picture.caption.removeprefix("a photo of ")


def _recoloured(studies: Studies, share: float, generator: torch.Generator) -> Studies:
    chosen = (torch.rand(len(studies), generator=generator) < share).nonzero().flatten().tolist()
    images, shown = studies.images.clone(), list(studies.shown)
    for index in chosen:
        dark, light = (list(names)[int(torch.randint(len(names), (), generator=generator))] for names in (DARK, LIGHT))
        strength = 0.7 + 0.3 * float(torch.rand((), generator=generator))
        images[index] = in_two_colours(images[index], DARK[dark], LIGHT[light], strength)
        shown[index] += f" in {dark} and {light}"
    return Studies(images, studies.artist, tuple(shown))


def in_two_colours(image: Tensor, dark: str, light: str, strength: float) -> Tensor:
    """Return a picture ``(3, H, W)``, uint8, whose darkest tone is one colour and whose lightest tone the other.

    Args:
        image: ``(3, H, W)``, uint8.
        dark: As six hexadecimal digits.
        light: Likewise.
        strength: Share of the new colours, in [0, 1]; the rest is the picture's own.
    """
    tone = (image.float() * torch.tensor(LUMA).view(3, 1, 1)).sum(0)
    tone = (tone - tone.min()) / (tone.max() - tone.min()).clamp(min=1)
    low, high = (torch.tensor(list(bytes.fromhex(colour))).view(3, 1, 1).float() for colour in (dark, light))
    return torch.lerp(image.float(), torch.lerp(low, high, tone), strength).round().byte()


def describe(shown: str, artist: int, rng: random.Random) -> str:
    """Return what somebody might write who wants such a picture.

    Args:
        shown: What it shows.
        artist: As in `Studies`.
        rng: Draws the form: a painter's name three times in four, else a word for many painters or none.
    """
    if shown in BY_NIGHT and rng.choice(("", "night")):
        shown = BY_NIGHT[shown]
    if artist == PHOTOGRAPH:
        return rng.choice(PHOTO_LEADS) + shown
    name = SEEN[artist]
    manner = rng.choice((*["name"] * 15, *["category"] * 3, "none", "none"))
    if manner == "name":
        return f"{rng.choice(LEADS)}{shown} {rng.choice(('by', *['in the style of'] * 4))} {name}"
    if manner == "category":
        word = rng.choice([word for word, painters in CATEGORIES.items() if name in painters])
        return f"{rng.choice(LEADS)}{shown} in the style of {word}"
    return f"a painting of {shown}"
