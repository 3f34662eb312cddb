"""The data module of every method: any content source with any style source."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from datamodules.batches import ArtistBatches, PaintingBatches, ResumableLoader, Sample, worker_options
from datamodules.pictures import PictureStore, UnreadablePictureWarning
from datamodules.records import Stored, blocks_of
from datamodules.samples import (
    Crop,
    EvaluationSamples,
    OwnStyleSamples,
    TrainingSamples,
    evaluation_pairs,
    own_style_pairs,
    spread,
)
from datamodules.sources import ContentSource, OwnStyles, ProceduralArt, Split, StyleSource
from datamodules.splits import Filed
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

SMALLEST = 16
"""Side of pictures in pixels: encoders halve them four times."""


class StyleTransferDataModule(LightningDataModule):
    """Training batches of P artists times K contents; validation and test on fixed pairs of content and artist.

    Training batches are a pure function of ``seed`` and batch number: a checkpoint continues at the very next batch,
    and the number of workers changes nothing. ``batch_size`` counts the samples of all ranks, each of which reads an
    equal share of the same batch: on one GPU and on eight, and where a run goes on with another number of them, a
    method sees the same batches. A method that accumulates takes several of them for a step.

    Evaluation paints every content with every artist (or ``pairs_per_content`` of them, in turn). The style painting
    comes from the same split but shows another content; where the artist has painted that very content, it is the
    ``truth``. Ranks share the pairs; where they do not divide, a few are repeated, with their ``index``.

    Unreadable files are skipped with a counted warning and replaced by another sample, always by the same one.

    Args:
        content: Photographs.
        style: Paintings.
        size: Side of the training crops, in pixels; smaller pictures are enlarged.
        resize: Shrink pictures to this short side before the crop, in pixels; None crops from them as they are.
        scale: Range of the crop's side as a multiple of ``size``; larger windows are shrunk to ``size``.
        flip: Mirror training pictures left and right at random; they are never rotated.
        batch_size: Samples of a training batch on all ranks together, P * K.
        artists_per_batch: P, on all ranks together.
        batches_per_epoch: None shows every content about once per epoch.
        artist_power: Artists are drawn with probability proportional to (number of paintings) ** artist_power: 0 draws
            all alike, 0.5 is a compromise for collections as uneven as WikiArt.
        val_size: Side of the evaluation pictures (centre crops), in pixels; None takes ``size``.
        val_batch_size: Of every rank; None takes its share of ``batch_size``.
        val_contents: Number of contents to evaluate on, spread over the split; None takes all.
        pairs_per_content: Artists per evaluated content; None takes all.
        workers: Processes that read training pictures, and as many that read evaluation pictures.
        cache_in_memory: Keep decoded pictures in memory: for data sets of at most a few thousand small pictures.
        seed: Of all draws; non-negative.
        style_views: Further crops of the style picture in every training sample, for methods that compare crops.
    """

    def __init__(
        self,
        content: ContentSource,
        style: StyleSource,
        *,
        size: int = 256,
        resize: int | None = None,
        scale: tuple[float, float] = (1.0, 1.0),
        flip: bool = True,
        batch_size: int = 8,
        artists_per_batch: int = 4,
        batches_per_epoch: int | None = None,
        artist_power: float = 0.0,
        val_size: int | None = None,
        val_batch_size: int | None = None,
        val_contents: int | None = None,
        pairs_per_content: int | None = None,
        workers: int = 2,
        cache_in_memory: bool = False,
        seed: int = 0,
        style_views: int = 0,
    ) -> None:
        super().__init__()
        if resize is not None and resize < size:
            raise ImpastoError(f"resize {resize} is smaller than the crop size {size}: raise it, or lower size.")
        _check_least(
            size=(size, SMALLEST),
            val_size=(val_size, SMALLEST),
            batch_size=(batch_size, 1),
            artists_per_batch=(artists_per_batch, 1),
            val_batch_size=(val_batch_size, 1),
            batches_per_epoch=(batches_per_epoch, 1),
            val_contents=(val_contents, 1),
            pairs_per_content=(pairs_per_content, 1),
            workers=(workers, 0),
        )
        self.content = content
        self.style = style
        self.crop = Crop(size, resize, scale, flip)
        self.batch_size = batch_size
        self.artists_per_batch = artists_per_batch
        self.batches_per_epoch = batches_per_epoch
        self.artist_power = artist_power
        self.val_size = val_size or size
        self.val_batch_size = val_batch_size
        self.val_contents = val_contents
        self.pairs_per_content = pairs_per_content
        self.workers = workers
        self.cache_in_memory = cache_in_memory
        self.seed = seed
        self.style_views = style_views
        self.artists: tuple[str, ...] = ()
        self._train: TrainingSamples | None = None
        self._evaluation: dict[Split, EvaluationSamples] = {}

    def prepare_data(self) -> None:
        """Download or generate what the sources miss, once per machine."""
        self.content.prepare()
        self.style.prepare()

    def setup(self, stage: str | None = None) -> None:
        """List the files; afterwards ``artists`` holds the names, in the order of the labels.

        Raises:
            ImpastoError: If a source holds no readable picture.
        """
        paintings = self.style.paintings("train")
        named = not isinstance(paintings, OwnStyles)
        self.artists = tuple(sorted({painting.artist for painting in paintings})) if named else ()
        if stage in {None, "fit"} and self._train is None:
            self._train = self._training_samples()
        wanted: tuple[tuple[Split, set[str | None]], ...] = (
            ("val", {None, "fit", "validate"}),
            ("test", {None, "test"}),
        )
        for split, stages in wanted:
            if stage in stages and split not in self._evaluation:
                self._evaluation[split] = self._evaluation_samples(split)

    def train_dataloader(self) -> ResumableLoader:
        """Return this rank's endless stream of training batches, cut into epochs."""
        samples = self._train
        if samples is None:
            raise ImpastoError("The training data is not set up: call setup('fit') first.")
        return ResumableLoader(samples, self._batches(samples), workers=self.workers)

    def _batches(self, samples: TrainingSamples) -> ArtistBatches | PaintingBatches:
        rank, world_size = self._place()
        shared: dict[str, Any] = {
            "batch_size": self.batch_size,
            "batches_per_epoch": self.batches_per_epoch or max(1, len(samples.contents) // self.batch_size),
            "seed": self.seed,
            "rank": rank,
            "world_size": world_size,
            "blocks": blocks_of(samples.contents.paths),
        }
        contents, per_batch = len(samples.contents), self.artists_per_batch
        if isinstance(samples, OwnStyleSamples):
            blocks = blocks_of(samples.styles)
            paintings = len(samples.styles)
            return PaintingBatches(paintings, contents, paintings_per_batch=per_batch, painting_blocks=blocks, **shared)
        counts = [len(works) for works in samples.works]
        return ArtistBatches(counts, contents, artists_per_batch=per_batch, power=self.artist_power, **shared)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return this rank's share of the validation pairs."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return this rank's share of the test pairs."""
        return self._evaluation_loader("test")

    @property
    def paintings_per_artist(self) -> tuple[int, ...]:
        """Number of training paintings of every artist, in the order of ``artists``; empty before ``setup("fit")``."""
        return () if self._train is None else tuple(len(works) for works in self._train.works)

    @property
    def unreadable(self) -> int:
        """Number of files skipped so far because they cannot be read."""
        return sum(store.unreadable for store in self._stores())

    def teardown(self, stage: str) -> None:  # noqa: ARG002  Lightning's signature
        """Say once more how many files were skipped, and list them in the run's folder, each rank those it met."""
        folder = None if self.trainer is None else self.trainer.log_dir  # asks every rank
        if self.unreadable:
            if folder is not None:
                self._list_unreadable(Path(folder))
            total = sum(len(store) for store in self._stores())
            rank_zero_warn(
                f"Skipped {self.unreadable} unreadable of {total} pictures.", category=UnreadablePictureWarning
            )

    def _list_unreadable(self, folder: Path) -> None:
        rank = self._place()[0]
        paths = sorted({str(path) for store in self._stores() for path in store.unreadable_paths()})
        name = "unreadable.txt" if rank == 0 else f"unreadable-{rank}.txt"
        write_atomically(folder / name, "\n".join([*paths, ""]))

    def _stores(self) -> list[PictureStore]:
        stores = [samples.pictures for samples in self._evaluation.values()]
        return stores if self._train is None else [self._train.contents, self._train.paintings, *stores]

    def _place(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _training_samples(self) -> TrainingSamples:
        contents, paintings = self.content.contents("train"), self.style.paintings("train")
        stores = self._store(contents), self._store(paintings)
        cutting: dict[str, Any] = {"crop": self.crop, "seed": self.seed, "views": self.style_views}
        if isinstance(paintings, OwnStyles):
            return OwnStyleSamples(*stores, paintings, **cutting)
        label = {name: number for number, name in enumerate(self.artists)}
        works: list[list[int]] = [[] for _ in self.artists]
        for position, painting in enumerate(paintings):
            works[label[painting.artist]].append(position)
        return TrainingSamples(*stores, works, self.artists, **cutting)

    def _store(self, items: Sequence[Filed]) -> PictureStore:
        store = PictureStore(_Places(items), short_side=self.crop.resize, keep=self.cache_in_memory)
        if self.cache_in_memory:
            store.read_all()
        if store.first_readable() is None:
            raise ImpastoError(
                f"None of the {len(store)} pictures such as {items[0].path} can be read: check the files."
            )
        return store

    def _evaluation_samples(self, split: Split) -> EvaluationSamples:
        contents = spread(self.content.contents(split), self.val_contents)
        paintings, names = self.style.paintings(split), self.artists
        if isinstance(paintings, OwnStyles):
            pairs = own_style_pairs(contents, paintings, pairs_per_content=self.pairs_per_content)
            names = tuple(painting.artist for painting in paintings)
        else:
            pairs = evaluation_pairs(
                contents,
                paintings,
                self.style.paintings("train"),
                names,
                pairs_per_content=self.pairs_per_content,
                seed=self.seed,
            )
        if not pairs:
            raise ImpastoError(f"The {split} split has no painting that shows another scene than its contents.")
        return EvaluationSamples(pairs, names, size=self.val_size, keep=self.cache_in_memory)

    def _evaluation_loader(self, split: Split) -> DataLoader[Sample]:
        samples = self._evaluation.get(split)
        if samples is None:
            raise ImpastoError(f"The {split} data is not set up: call setup first.")
        rank, world_size = self._place()
        sampler: Sampler[int] | None = None
        if world_size > 1:  # Lightning leaves a DistributedSampler alone, whatever use_distributed_sampler says
            sampler = DistributedSampler(samples, world_size, rank, shuffle=False)
        batch_size = self.val_batch_size or max(1, self.batch_size // world_size)
        return DataLoader(samples, batch_size, sampler=sampler, **worker_options(self.workers))


class _Places(Sequence[Stored]):
    """Where items are; a place is looked up when it is asked for, of which there may be millions."""

    def __init__(self, items: Sequence[Filed]) -> None:
        self._items = items
        self.blocks = blocks_of(items)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, position: int) -> Stored: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Stored]: ...

    def __getitem__(self, position: int | slice) -> Stored | Sequence[Stored]:
        if isinstance(position, slice):
            return [item.path for item in self._items[position]]
        return self._items[position].path


class ProceduralArtDataModule(StyleTransferDataModule):
    """The embedded data set, generated on first use: no download, and the truth is known.

    Args:
        root: Where the pictures are, or will be generated.
        picture_size: Side of the generated pictures, in pixels.
        contents_per_split: Number of contents of ``train``, ``val`` and ``test``; None takes the generator's own.
        data_seed: Seed of the generated pictures; ``seed`` is that of the batches.
        size: Side of the training crops, in pixels.
        workers: Processes that read pictures; from memory, the main process alone is faster.
        cache_in_memory: Keep decoded pictures in memory.
        kwargs: As in :class:`StyleTransferDataModule`.
    """

    def __init__(
        self,
        root: str = "data/procedural",
        *,
        picture_size: int = 256,
        contents_per_split: dict[str, int] | None = None,
        data_seed: int = 0,
        size: int = 128,
        workers: int = 0,
        cache_in_memory: bool = True,
        **kwargs: Any,
    ) -> None:
        art = ProceduralArt(root, size=picture_size, contents_per_split=contents_per_split, seed=data_seed)
        super().__init__(content=art, style=art, size=size, workers=workers, cache_in_memory=cache_in_memory, **kwargs)


def _check_least(**given: tuple[int | None, int]) -> None:
    for name, (value, least) in given.items():
        if value is not None and value < least:
            raise ImpastoError(f"{name} is {value}, and must be at least {least}.")
