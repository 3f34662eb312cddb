"""What the embedded pipeline learns from: small pictures of ProceduralArt, and what one would write to get them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.procedural import PAINTERS, Content, contents, paint
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
    split: str, count: int, *, seed: int, artists: Sequence[str] = SEEN, recoloured: float = 0.0
) -> Studies:
    """Paint small contents of a split, every one by every artist.

    Args:
        split: Of ProceduralArt.
        count: Contents; of the photographs among them every second is left out.
        seed: Of the data set.
        artists: Who paints.
        recoloured: Share of the pictures, photographs among them, that are printed in two colours instead of their own
            and described so: a pipeline that knows palettes apart from painters can be shown a new one.
    """
    images, artist, shown = [], [], []
    for picture in _few_photographs(contents(split, count, size=SIDE, seed=seed)):  # type: ignore[arg-type]
        works = [picture.image, *(paint(picture, name, seed) for name in artists)]
        images.append((torch.from_numpy(np.stack(works)).permute(0, 3, 1, 2).clamp(0, 1) * 255).round().byte())
        artist += [PHOTOGRAPH, *range(len(artists))]
        shown += [picture.caption.removeprefix("a photo of ")] * len(works)
    studies = Studies(torch.cat(images), torch.tensor(artist), tuple(shown))
    return _recoloured(studies, recoloured, torch.Generator().manual_seed(seed))


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


def _few_photographs(pictures: Iterator[Content]) -> Iterator[Content]:
    photographs = 0
    for picture in pictures:
        photographs += picture.regions is None
        if picture.regions is not None or photographs % 2:
            yield picture


def describe(shown: str, artist: int, generator: torch.Generator) -> str:
    """Return what somebody might write who wants such a picture.

    Args:
        shown: What it shows.
        artist: As in `Studies`.
        generator: Draws the form: a painter's name three times in four, else a word for many painters or none.
    """

    def pick(options: Sequence[str]) -> str:
        return options[int(torch.randint(len(options), (), generator=generator))]

    if shown in BY_NIGHT and pick(("", "night")):
        shown = BY_NIGHT[shown]
    if artist == PHOTOGRAPH:
        return pick(PHOTO_LEADS) + shown
    name = SEEN[artist]
    manner = pick((*["name"] * 15, *["category"] * 3, "none", "none"))
    if manner == "name":
        return f"{pick(LEADS)}{shown} {pick(('by', *['in the style of'] * 4))} {name}"
    if manner == "category":
        word = pick([word for word, painters in CATEGORIES.items() if name in painters])
        return f"{pick(LEADS)}{shown} in the style of {word}"
    return f"a painting of {shown}"
