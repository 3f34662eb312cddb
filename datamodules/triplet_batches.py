"""Triplets as batches: which positive meets which anchor and negative, and how to continue the stream exactly."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.batches import AUGMENTATION, EndlessBatches, stack, stack_or_none
from datamodules.images import read_pixels
from datamodules.pictures import Pixels
from datamodules.records import Stored
from lightning_modules.errors import ImpastoError
from lightning_modules.prompts import STYLED, Suffix, with_suffix
from lightning_modules.types import PromptBatch, TripletBatch

_RESIZING = "squash bicubic 1"  # part of a fingerprint: change it with `squash`


class SquaredPictures(Sequence[Tensor]):
    """Pictures by number, squashed to squares of one size: the whole picture, its aspect ratio not kept.

    Args:
        paths: Files, or records in them; a position in this list is a picture's number.
        size: Side in pixels.
        keep: Keep what was read in memory.

    Source: giddyyupp/NSYNC @2d20a62 for the squashing.
    """

    def __init__(self, paths: Sequence[Stored], *, size: int, keep: bool = False) -> None:
        self.paths = list(paths)
        self.size = size
        self._kept: dict[int, Pixels] | None = {} if keep else None
        self._fingerprint = ""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:  # type: ignore[override]  # nobody slices pictures
        """Return a picture, ``(3, S, S)``, float32, RGB in [0, 1].

        Raises:
            ImageReadError: If it cannot be read.
        """
        return stack([self.pixels(range(len(self))[number])])[0]

    def pixels(self, number: int) -> Pixels:
        """Return the same, ``(S, S, 3)``, uint8, not to be written to."""
        if self._kept is not None and number in self._kept:
            return self._kept[number]
        pixels = squash(read_pixels(self.paths[number]), self.size)
        if self._kept is not None:
            self._kept[number] = pixels
        return pixels

    @property
    def fingerprint(self) -> str:
        """Return a key of all pictures: another byte in a file, another order or another size changes it."""
        if not self._fingerprint:
            digest = hashlib.blake2b(f"{_RESIZING} {self.size}".encode(), digest_size=16)
            for path in self.paths:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "blake2b").digest())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint


def squash(pixels: Pixels, size: int) -> Pixels:
    """Bring a picture to a square of a size, bicubic, with antialiasing where it shrinks.

    Args:
        pixels: ``(H, W, 3)``, uint8.
        size: Side in pixels.
    """
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))


class Positive(NamedTuple):
    """A training picture: its style, its caption, and its number and its negative's among all pictures."""

    style: int
    caption: str
    picture: int
    negative: int


class Triplet(NamedTuple):
    """The key of one training sample: positions in the list of positives, and which roles are mirrored."""

    position: int
    positive: int
    anchor: int
    flip: tuple[bool, bool, bool]


class TripletStream(EndlessBatches[Triplet]):
    """Batches of positives, each with another picture of its style as anchor.

    Positives come in random order without repetition before all were seen; the anchor is drawn uniformly from the
    other pictures of the style, and the flips of the three roles independently. Batch ``k`` is a function of the seed
    and ``k`` alone; ranks cut it into equal shares.

    Args:
        styles: The style of every positive.
        batch_size: Samples of a batch on all ranks together.
        batches_per_epoch: Length of an epoch.
        anchor_may_repeat: Draw the anchor from all pictures of the style, the positive among them.
        flip: Mirror roles at random.
        seed: Non-negative.
        rank: This process.
        world_size: Number of processes.

    Raises:
        ImpastoError: If a batch does not divide by the ranks.

    Source: NSYNC, section III, for another picture as anchor; giddyyupp/NSYNC @2d20a62 draws it from all.
    """

    def __init__(
        self,
        styles: Sequence[int],
        *,
        batch_size: int,
        batches_per_epoch: int,
        anchor_may_repeat: bool = False,
        flip: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ImpastoError(
                f"A batch of {batch_size} triplets does not divide among {world_size} processes: take another "
                "batch_size, or another number of devices."
            )
        super().__init__(len(styles), batches_per_epoch=batches_per_epoch, seed=seed, rank=rank, world_size=world_size)
        self.styles = list(styles)
        self.members: dict[int, list[int]] = {}
        for number, style in enumerate(self.styles):
            self.members.setdefault(style, []).append(number)
        self.batch_size = batch_size
        self.anchor_may_repeat = anchor_may_repeat
        self.flip = flip

    def batch(self, number: int) -> list[Triplet]:
        """Return this rank's share of one batch of the endless stream, 0 for the first."""
        share = self.batch_size // self.world_size
        first = number * self.batch_size + self.rank * share
        return [self._triplet(position) for position in range(first, first + share)]

    def _triplet(self, position: int) -> Triplet:
        positive = self.item(position)
        rng = np.random.default_rng([self.seed, AUGMENTATION, position])
        others = self.members[self.styles[positive]]
        if not self.anchor_may_repeat:
            others = [other for other in others if other != positive]
        anchor = others[int(rng.integers(len(others)))]
        mirrored = rng.random(3) < 0.5
        return Triplet(position, positive, anchor, tuple(bool(role) and self.flip for role in mirrored))  # type: ignore[arg-type]


class TripletSample(NamedTuple):
    """One triplet before batching; ``images`` is ``(3, S, S, 3)`` in uint8, roles first."""

    picture: tuple[int, int, int]
    flip: tuple[bool, bool, bool]
    captions: tuple[str, str, str]
    artist: int
    number: int
    images: NDArray[np.uint8] | None


class TripletSamples(Dataset[TripletSample]):
    """Turns keys into pictures and prompts.

    Args:
        positives: The training pictures of all styles.
        pictures: What they and their negatives look like.
        placeholders: The styles' tokens.
        decode: Read pictures; without it, samples have their numbers only.
        negative_suffix: How the negative's prompt names the style.
    """

    def __init__(
        self,
        positives: Sequence[Positive],
        pictures: SquaredPictures,
        placeholders: Sequence[str],
        *,
        decode: bool,
        negative_suffix: Suffix,
    ) -> None:
        self.positives = positives
        self.pictures = pictures
        self.placeholders = placeholders
        self.decode = decode
        self.negative_suffix = negative_suffix

    def __getitem__(self, triplet: Triplet) -> TripletSample:
        """Build one sample.

        Raises:
            ImageReadError: If one of its pictures cannot be read.
        """
        positive, anchor = self.positives[triplet.positive], self.positives[triplet.anchor]
        token = self.placeholders[positive.style]
        picture = (positive.picture, anchor.picture, positive.negative)
        return TripletSample(
            picture=picture,
            flip=triplet.flip,
            captions=(
                with_suffix(positive.caption, STYLED, token),
                with_suffix(anchor.caption, STYLED, token),
                with_suffix(positive.caption, self.negative_suffix, token),
            ),
            artist=positive.style,
            number=triplet.position,
            images=self._images(picture, triplet.flip) if self.decode else None,
        )

    def _images(self, picture: Sequence[int], flip: Sequence[bool]) -> NDArray[np.uint8]:
        roles = [self.pictures.pixels(number) for number in picture]
        return np.stack([role[:, ::-1] if mirrored else role for role, mirrored in zip(roles, flip, strict=True)])


def collate_triplets(samples: Sequence[TripletSample]) -> TripletBatch:
    """Stack samples, roles second."""
    captions = [list(role) for role in zip(*(sample.captions for sample in samples), strict=True)]
    return TripletBatch(
        picture=torch.tensor([sample.picture for sample in samples]),
        flip=torch.tensor([sample.flip for sample in samples]),
        caption=captions[0],
        anchor_caption=captions[1],
        negative_caption=captions[2],
        artist=torch.tensor([sample.artist for sample in samples]),
        prompt=captions[0],
        index=torch.tensor([sample.number for sample in samples]),
        images=stack_or_none([sample.images for sample in samples]),
    )


class PromptSample(NamedTuple):
    """One prompt before batching, with a picture ``(S, S, 3)`` in uint8."""

    prompt: str
    artist: int
    number: int
    style: Pixels


class PromptSamples(Dataset[PromptSample]):
    """Prompts of held-out pictures, with the pictures.

    Args:
        prompts: With the styles' tokens.
        artists: Their styles.
        pictures: What they describe.
    """

    def __init__(self, prompts: Sequence[str], artists: Sequence[int], pictures: SquaredPictures) -> None:
        self.prompts = prompts
        self.artists = artists
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, number: int) -> PromptSample:
        """Build one sample.

        Raises:
            ImageReadError: If its picture cannot be read.
        """
        return PromptSample(self.prompts[number], self.artists[number], number, self.pictures.pixels(number))


def collate_prompts(samples: Sequence[PromptSample]) -> PromptBatch:
    """Stack samples."""
    return PromptBatch(
        prompt=[sample.prompt for sample in samples],
        artist=torch.tensor([sample.artist for sample in samples]),
        index=torch.tensor([sample.number for sample in samples]),
        style=stack([sample.style for sample in samples]),
    )
