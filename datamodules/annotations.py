"""Pictures that somebody has called stylistic or not, and the batches that a predictor learns from them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from datamodules.annotation_sources import Annotation, AnnotationSource
from datamodules.batches import EndlessBatches, ResumableLoader, worker_options
from datamodules.images import ImageReadError, list_images, read_pixels
from datamodules.notes import note
from datamodules.pictures import Pixels, centre_crop
from datamodules.records import Stored
from datamodules.sources import Split
from lightning_modules.errors import ImpastoError
from lightning_modules.types import AnnotatedBatch

_STREAM = 3  # after those of `datamodules.batches`


STAGES: dict[str | None, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": (),
    None: ("train", "val", "test"),
}
"""What each stage needs of the source."""


class AnnotationDataModule(LightningDataModule):
    """Annotated pictures, split so that a painter is on one side only; half of every training batch is stylistic.

    The batches bring numbers of ``pictures``, for the predictor keeps what its frozen branches see of each: nothing is
    decoded that was looked at before.

    Args:
        source: The annotated pictures.
        pool: A folder of pictures that nobody has annotated yet, for `impasto predict`, which finds the least certain.
        size: Side of the squares that pictures are cut and brought to, in pixels; the model's ``side``.
        batch_size: Pictures of a training batch on all ranks together, an even number.
        batches_per_epoch: Training batches between two validations.
        val_batch_size: Of every rank.
        seed: Of the order of the pictures; non-negative.

    Attributes:
        artists: Names of the groups, such as the painters, in the order of the labels.
        annotations: Of every picture that this stage needs, by its number.
    """

    def __init__(
        self,
        source: AnnotationSource,
        *,
        pool: Path | str | None = None,
        size: int = 256,
        batch_size: int = 64,
        batches_per_epoch: int = 100,
        val_batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 2 or batch_size % 2:
            raise ImpastoError(f"batch_size is {batch_size}, and must be even: half of every batch is stylistic.")
        self.source = source
        self.pool = Path(pool) if pool is not None else None
        self.size = size
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.val_batch_size = val_batch_size
        self.seed = seed
        self.artists: tuple[str, ...] = ()
        self.annotations: list[Annotation] = []
        self.hashes: list[bytes] = []
        self._splits: dict[str, list[int]] = {}

    def prepare_data(self) -> None:
        """Generate what the source misses, once per machine."""
        self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """List the pictures that a stage needs.

        Raises:
            ImpastoError: If a split lacks one of the two kinds, or there is no pool to predict on.
        """
        for split in STAGES[stage]:
            if split not in self._splits:
                self._take(split, _both_kinds(self.source.annotations(split), split))
        if stage == "predict" and "predict" not in self._splits:
            self._take("predict", self._unannotated())
        self.artists = tuple(sorted({annotation.group for annotation in self.annotations}))

    @property
    def pictures(self) -> "SquarePictures":
        """All of `annotations` as tensors, read when they are asked for."""
        return SquarePictures([annotation.path for annotation in self.annotations], self.size)

    def train_dataloader(self) -> ResumableLoader:
        """Return this rank's endless stream of training batches, cut into epochs."""
        samples = self._samples("train")
        kinds = [[place for place, label in enumerate(samples.labels) if label == kind] for kind in (1.0, 0.0)]
        rank, world_size = self._place()
        batches = BalancedBatches(
            kinds,
            batch_size=self.batch_size,
            batches_per_epoch=self.batches_per_epoch,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
        return ResumableLoader(samples, batches, collate=samples.collate)

    def val_dataloader(self) -> DataLoader[int]:
        """Return this rank's share of the validation split."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[int]:
        """Return this rank's share of the test split."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[int]:
        """Return this rank's share of the pool."""
        return self._evaluation_loader("predict")

    def path(self, index: int, split: str) -> Stored:
        """Return the place of a sample."""
        return self.annotations[self._splits[split][index]].path

    def describe(self, index: int, split: str) -> dict[str, str]:
        """Say what a sample is, for tables."""
        return {"path": str(self.path(index, split))}

    def _take(self, split: str, annotations: Sequence[Annotation]) -> None:
        first = len(self.annotations)
        self.annotations += annotations
        self.hashes += [content_hash(annotation.path) for annotation in annotations]
        self._splits[split] = list(range(first, len(self.annotations)))

    def _unannotated(self) -> list[Annotation]:
        if self.pool is None:
            raise ImpastoError("There are no pictures to predict on: set data.pool to a folder.")
        return [Annotation(path, None, path.parent.name) for path in list_images(self.pool)]

    def _samples(self, split: str) -> "AnnotatedSamples":
        if split not in self._splits:
            raise ImpastoError(f"The {split} data is not set up: call setup first.")
        return AnnotatedSamples(self._splits[split], self.annotations, self.artists)

    def _evaluation_loader(self, split: str) -> DataLoader[int]:
        samples = self._samples(split)
        rank, world_size = self._place()
        sampler: Sampler[int] | None = None
        if world_size > 1:
            sampler = DistributedSampler(samples, world_size, rank, shuffle=False)
        options = worker_options(0) | {"collate_fn": samples.collate}
        return DataLoader(samples, batch_size=self.val_batch_size, sampler=sampler, **options)

    def _place(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


class SquarePictures(Sequence[Tensor | None]):
    """The squares in the middle of pictures, each read when it is asked for; None for one that cannot be read.

    Args:
        paths: Files.
        size: Side of the squares, in pixels.
    """

    def __init__(self, paths: Sequence[Stored], size: int) -> None:
        self.paths = paths
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor | None:  # type: ignore[override]  # one at a time
        """Return ``(3, S, S)``, RGB in [0, 1]."""
        try:
            return as_tensor(read_square(self.paths[number], self.size))
        except ImageReadError as error:
            note(f"Left out: {error}")
            return None


class AnnotatedSamples(Dataset[int]):
    """The pictures of one split, by their place in it; `collate` makes batches of such places.

    Args:
        numbers: Of the split's pictures.
        annotations: Of all pictures.
        artists: Names of the groups.
    """

    def __init__(self, numbers: Sequence[int], annotations: Sequence[Annotation], artists: Sequence[str]) -> None:
        label = {name: number for number, name in enumerate(artists)}
        self.numbers = numbers
        self.artists = artists
        self.labels = [_as_number(annotations[number].stylistic) for number in numbers]
        self.groups = [label[annotations[number].group] for number in numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> int:
        return place

    def collate(self, places: Sequence[int]) -> AnnotatedBatch:
        """Return the batch of some places of the split."""
        groups = [self.groups[place] for place in places]
        return AnnotatedBatch(
            picture=torch.tensor([self.numbers[place] for place in places]),
            label=torch.tensor([self.labels[place] for place in places]),
            artist=torch.tensor(groups),
            prompt=[self.artists[group] for group in groups],
            index=torch.tensor(places),
        )


class BalancedBatches(EndlessBatches[int]):
    """Batches of which every kind is an equal part, each in random order without repetition before all were seen.

    Args:
        kinds: Items of every kind; a rank gets an equal share of each.
        batch_size: Items of a batch on all ranks together.
        batches_per_epoch: Length of an epoch.
        seed: Non-negative.
        rank: This process.
        world_size: Number of processes.

    Raises:
        ImpastoError: If the batch does not divide among kinds and processes.
    """

    def __init__(
        self,
        kinds: Sequence[Sequence[int]],
        *,
        batch_size: int,
        batches_per_epoch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            max(map(len, kinds)), batches_per_epoch=batches_per_epoch, seed=seed, rank=rank, world_size=world_size
        )
        if batch_size % (len(kinds) * world_size):
            raise ImpastoError(
                f"A batch of {batch_size} pictures does not divide among {len(kinds)} kinds and {world_size} "
                "processes: change batch_size, or the number of devices."
            )
        self.kinds = kinds
        self.share = batch_size // len(kinds)

    def batch(self, number: int) -> list[int]:
        """Return this rank's share of one batch of the endless stream, 0 for the first."""
        mine = range(
            number * self.share + self.rank * self.share // self.world_size,
            number * self.share + (self.rank + 1) * self.share // self.world_size,
        )
        return [self._item_of(kind, position) for kind in range(len(self.kinds)) for position in mine]

    def _item_of(self, kind: int, position: int) -> int:
        turn, place = divmod(position, len(self.kinds[kind]))
        return self.kinds[kind][int(self._order_of(kind, turn)[place])]

    def _order_of(self, kind: int, turn: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, _STREAM, kind, turn]).permutation(len(self.kinds[kind]))


def read_square(path: Stored, size: int) -> Pixels:
    """Return the square in the middle of a picture, ``(size, size, 3)``, uint8.

    Raises:
        ImageReadError: If it cannot be read.
    """
    return centre_crop(read_pixels(path, short_side=size), size)


def as_tensor(pixels: Pixels) -> Tensor:
    """Return ``(3, H, W)``, RGB in [0, 1], of ``(H, W, 3)`` in uint8."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float().div_(255.0)


def content_hash(path: Stored) -> bytes:
    """Return the SHA-256 of a file's bytes; of one that cannot be opened, that of its name."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).digest()


def _as_number(stylistic: bool | None) -> float:
    return float("nan") if stylistic is None else float(stylistic)


def _both_kinds(annotations: list[Annotation], split: Split) -> list[Annotation]:
    kinds = {annotation.stylistic for annotation in annotations}
    if kinds != {True, False}:
        missing = "stylistic" if True not in kinds else "plain"
        raise ImpastoError(f"The {split} split has no {missing} picture: annotate some, or hold out another share.")
    return annotations
