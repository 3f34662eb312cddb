"""Captions for the tiny CLIP: what a picture shows, who painted it, how, and in which light."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.embedded.gallery import PHOTOGRAPH, Gallery
from lightning_modules.networks.edges import LUMA

ARTIST_TEMPLATES = (
    "{}",
    "a painting by {}",
    "a picture by {}",
    "in the style of {}",
    "a painting in the style of {}",
    "the style of {}",
    "{} style",
    "an artwork by {}",
)
STYLE_TEMPLATES = ("{}", "a painting with {}", "a picture made of {}", "painted with {}", "{} style")
PHOTO_TEMPLATES = ("a photo", "a photograph", "a photo of a scene", "a plain photo")
SUBJECT_TEMPLATES = ("{}", "a picture of {}", "an image of {}")
TONES = {
    "bright": ("bright colours", "brighter colours", "bright", "light colours", "brighter"),
    "dark": ("dark colours", "darker colours", "dark", "darker", "gloomy"),
    "muted": ("muted colours", "grey colours", "pale colours", "less colourful"),
    "vivid": ("vivid colours", "strong colours", "colourful", "more colourful"),
    "warm": ("warm colours", "warmer colours", "warm", "warmer"),
    "cold": ("cold colours", "colder colours", "cool colours", "colder"),
}


@dataclass(frozen=True)
class Claim:
    """A caption and everything it asserts; None asserts nothing.

    Attributes:
        text: The caption.
        artist: Index of the artist, or `PHOTOGRAPH`.
        subject: A phrase that the picture's own caption contains.
        tone: A key of `TONES`.
    """

    text: str
    artist: int | None = None
    subject: str | None = None
    tone: str | None = None


def tones(images: Tensor) -> Tensor:
    """Return which of `TONES` hold for each picture, ``(B, 6)``, bool, by its mean luma, chroma and red minus blue."""
    luma = (images * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(1)  # B, H, W
    light = luma.mean((1, 2))
    chroma = (images - luma[:, None]).square().sum(1).sqrt().mean((1, 2))
    warmth = (images[:, 0] - images[:, 2]).mean((1, 2))
    holds = (light > 0.62, light < 0.33, chroma < 0.07, chroma > 0.25, warmth > 0.16, warmth < -0.08)
    return torch.stack(holds, 1)


def subjects(caption: str) -> tuple[str, ...]:
    """Return the phrases of "a photo of the sea under a blue sky": the sea, and the sea under a blue sky."""
    whole = re.sub(r"^a photo(graph)? of ", "", caption)
    first = re.split(r" (?:under|in|on|at|with|of) ", whole)[0]
    return tuple(dict.fromkeys((first, whole)))


def make_claims(gallery: Gallery, batch: Tensor, tone: Tensor, generator: torch.Generator) -> list[Claim]:
    """Return one true claim about every picture of a batch, each of a kind drawn at random.

    Args:
        gallery: Where the pictures come from.
        batch: Their indices, ``(B,)``.
        tone: What `tones` says of them, ``(B, 6)``.
        generator: Draws everything.
    """

    def pick(options: Sequence[str]) -> str:
        return options[int(torch.randint(len(options), (), generator=generator))]

    def manner(artist: int) -> str:
        if artist == PHOTOGRAPH:
            return pick(PHOTO_TEMPLATES)
        if pick(("name", "name", "technique")) == "name":
            return pick(ARTIST_TEMPLATES).format(gallery.artists[artist])
        return pick(STYLE_TEMPLATES).format(gallery.styles[artist])

    claims = []
    for index, row in zip(batch.tolist(), tone, strict=True):
        artist = int(gallery.artist[index])
        true = [name for name, holds in zip(TONES, row.tolist(), strict=True) if holds]
        kind = pick(("manner", "manner", "manner and subject", "subject", "tone", "manner and tone"))
        subject = pick(subjects(gallery.captions[index])) if "subject" in kind else None
        colour = pick(true) if "tone" in kind and true else None
        said = [manner(artist)] if "manner" in kind or not (subject or colour) else []
        if subject:
            of = said and artist == PHOTOGRAPH
            said = [f"a photo of {subject}"] if of else [*said, pick(SUBJECT_TEMPLATES).format(subject)]
        if colour:
            said.append(pick(TONES[colour]))
        asserted = artist if "manner" in kind or not (subject or colour) else None
        claims.append(Claim(", ".join(said), asserted, subject, colour))
    return claims


def truth_table(claims: Sequence[Claim], gallery: Gallery, batch: Tensor, tone: Tensor) -> Tensor:
    """Return whether claim j is true of picture i, ``(B, len(claims))``, bool: captions describe many pictures."""
    artist = gallery.artist[batch]
    names = list(TONES)
    columns = []
    for claim in claims:
        holds = torch.ones(len(batch), dtype=torch.bool)
        if claim.artist is not None:
            holds &= artist == claim.artist
        if claim.subject is not None:
            holds &= torch.tensor([claim.subject in subjects(gallery.captions[i]) for i in batch.tolist()])
        if claim.tone is not None:
            holds &= tone[:, names.index(claim.tone)]
        columns.append(holds)
    return torch.stack(columns, 1)
