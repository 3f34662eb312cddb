"""The data module of methods that learn styles in words from positives, anchors and negatives."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from datamodules.batches import ResumableLoader, worker_options
from datamodules.learned_styles import Example, NegativeMaker, StyleFolders, TripletSource
from datamodules.samples import spread
from datamodules.sources import Split
from datamodules.triplet_batches import (
    Positive,
    PromptSample,
    PromptSamples,
    SquaredPictures,
    TripletSamples,
    TripletStream,
    collate_prompts,
    collate_triplets,
)
from lightning_modules.errors import ImpastoError
from lightning_modules.prompts import STYLED, Suffix, styled

SMALLEST = 16
"""Side of pictures in pixels."""


class TripletDataModule(LightningDataModule):
    """Triplets as `lightning_modules.types.TripletBatch`; validation and test as `lightning_modules.types.PromptBatch`.

    Training batches are a pure function of ``seed`` and batch number: a checkpoint continues at the very next batch,
    and the number of workers changes nothing. ``batch_size`` counts the triplets of all ranks, each of which reads an
    equal share of the same batch. Several styles share batches in proportion to their pictures.

    Validation and test draw the captions of held-out pictures, each once, beside the picture itself.

    Args:
        styles: Where pictures, captions and negatives come from; or folders as `StyleFolders` reads them.
        size: Side of the pictures, in pixels: whole pictures are squashed to squares.
        placeholders: One token for each style; None makes ``<ada-stipple>`` of the name "Ada Stipple".
        negatives: Draws the negatives that are missing.
        batch_size: Triplets of a training batch on all ranks together.
        batches_per_epoch: None shows every positive about once per epoch.
        flip: Mirror training pictures left and right at random, each role for itself.
        anchor_may_repeat: Let the anchor be the positive itself now and then, as the public code does.
        negative_suffix: How a negative's prompt names the style: as its positive's does, or denying it, which the Mean
            variants of the paper need.
        val_size: Side of the held-out pictures, in pixels; None takes ``size``.
        val_batch_size: Of every rank; None takes its share of ``batch_size``.
        val_pictures: Number of held-out pictures of every style that validation takes, spread over all; None takes all.
            The test takes all.
        workers: Processes that read pictures.
        cache_in_memory: Keep decoded pictures in memory.
        seed: Of all draws; non-negative.

    Attributes:
        artists: The styles' names, in the order of the labels.
        placeholders: Their tokens.
        pictures: All training pictures by number: positives, then negatives; ``pictures[n]`` is ``(3, S, S)``, RGB in
            [0, 1]. There after ``setup("fit")``.
        decode: Whether training batches carry pictures, or their numbers only; set it before the loader is asked for.

    Raises:
        ImpastoError: If a setting is out of range, or a placeholder is no single word of its own.

    Source: NSYNC, section III; giddyyupp/NSYNC @2d20a62.
    """

    def __init__(
        self,
        styles: TripletSource | Sequence[str] | str,
        *,
        size: int = 512,
        placeholders: Sequence[str] | None = None,
        negatives: NegativeMaker | None = None,
        batch_size: int = 2,
        batches_per_epoch: int | None = None,
        flip: bool = True,
        anchor_may_repeat: bool = False,
        negative_suffix: Suffix = STYLED,
        val_size: int | None = None,
        val_batch_size: int | None = None,
        val_pictures: int | None = None,
        workers: int = 0,
        cache_in_memory: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check_least(
            size=(size, SMALLEST),
            val_size=(val_size, SMALLEST),
            batch_size=(batch_size, 1),
            batches_per_epoch=(batches_per_epoch, 1),
            val_batch_size=(val_batch_size, 1),
            val_pictures=(val_pictures, 1),
        )
        self.style = styles if isinstance(styles, TripletSource) else StyleFolders(styles)
        self.artists = self.style.names
        self.placeholders = _checked(placeholders, self.artists)
        self.size = size
        self.negatives = negatives
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.flip = flip
        self.anchor_may_repeat = anchor_may_repeat
        self.negative_suffix: Suffix = negative_suffix
        self.val_size = val_size or size
        self.val_batch_size = val_batch_size
        self.val_pictures = val_pictures
        self.workers = workers
        self.cache_in_memory = cache_in_memory
        self.seed = seed
        self.decode = True
        self.positives: list[Positive] = []
        self._pictures: SquaredPictures | None = None
        self._held_out: dict[Split, list[tuple[int, Example]]] = {}

    def prepare_data(self) -> None:
        """Generate what the source misses, and the negatives, once per machine."""
        self.style.prepare(self.negatives)

    def setup(self, stage: str | None = None) -> None:
        """List the files.

        Raises:
            ImpastoError: If a picture has no caption or no negative, or there is no anchor for it.
        """
        if stage in {None, "fit"} and self._pictures is None:
            self._pictures = self._training_pictures()
        wanted: tuple[tuple[Split, set[str | None]], ...] = (
            ("val", {None, "fit", "validate", "predict"}),
            ("test", {None, "test"}),
        )
        for split, stages in wanted:
            if stage in stages and split not in self._held_out:
                count = self.val_pictures if split == "val" else None
                self._held_out[split] = [
                    (label, item)
                    for label, name in enumerate(self.artists)
                    for item in spread(self.style.examples(name, split), count)
                ]

    @property
    def pictures(self) -> SquaredPictures:
        """All training pictures by number."""
        if self._pictures is None:
            raise ImpastoError("The training data is not set up: call setup('fit') first.")
        return self._pictures

    @property
    def fingerprint(self) -> str:
        """Return a key of the training pictures, which another byte in a file or another size changes."""
        return self.pictures.fingerprint

    def train_dataloader(self) -> ResumableLoader:
        """Return this rank's endless stream of training batches, cut into epochs."""
        pictures, (rank, world_size) = self.pictures, self._place()
        samples = TripletSamples(
            self.positives,
            pictures,
            self.placeholders,
            decode=self.decode,
            negative_suffix=self.negative_suffix,
        )
        stream = TripletStream(
            [positive.style for positive in self.positives],
            batch_size=self.batch_size,
            batches_per_epoch=self.batches_per_epoch or max(1, len(self.positives) // self.batch_size),
            anchor_may_repeat=self.anchor_may_repeat,
            flip=self.flip,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
        # Without pictures there is nothing to read that a process of its own would be worth.
        return ResumableLoader(samples, stream, workers=self.workers if self.decode else 0, collate=collate_triplets)

    def val_dataloader(self) -> DataLoader[PromptSample]:
        """Return this rank's share of the validation prompts."""
        return self._prompt_loader("val")

    def test_dataloader(self) -> DataLoader[PromptSample]:
        """Return this rank's share of the test prompts."""
        return self._prompt_loader("test")

    def predict_dataloader(self) -> DataLoader[PromptSample]:
        """Return this rank's share of the validation prompts."""
        return self._prompt_loader("val")

    def describe(self, index: int, split: Split = "val") -> dict[str, str]:
        """Return what a prompt is, for a table: ``job``, which names files, ``caption`` and ``picture``."""
        label, item = self._held_out[split][index]
        parts = (f"{index:04d}", self.artists[label], Path(item.key).name)
        name = "_".join(re.sub(r"[^\w-]+", "-", part).strip("-")[:40] for part in parts)
        return {"job": name, "caption": item.caption, "picture": str(item.path)}

    def _training_pictures(self) -> SquaredPictures:
        listed = [(label, item) for label, name in enumerate(self.artists) for item in self._trainable(name)]
        paths = list(dict.fromkeys([item.path for _, item in listed] + [_negative(item) for _, item in listed]))
        number = {path: place for place, path in enumerate(paths)}
        self.positives = [
            Positive(label, item.caption, number[item.path], number[_negative(item)]) for label, item in listed
        ]
        return SquaredPictures(paths, size=self.size, keep=self.cache_in_memory)

    def _trainable(self, name: str) -> list[Example]:
        examples = self.style.examples(name, "train")
        if len(examples) < 2 and not self.anchor_may_repeat:
            raise ImpastoError(
                f"{name} has one training picture only, {examples[0].path}, and an anchor is another one: add "
                "pictures, or set data.anchor_may_repeat to true."
            )
        return examples

    def _prompt_loader(self, split: Split) -> DataLoader[PromptSample]:
        held_out = self._held_out.get(split)
        if held_out is None:
            raise ImpastoError(f"The {split} data is not set up: call setup first.")
        pictures = SquaredPictures([item.path for _, item in held_out], size=self.val_size, keep=self.cache_in_memory)
        prompts = [styled(item.caption, self.placeholders[label]) for label, item in held_out]
        samples = PromptSamples(prompts, [label for label, _ in held_out], pictures)
        rank, world_size = self._place()
        sampler: Sampler[int] | None = None
        if world_size > 1:  # Lightning leaves a DistributedSampler alone, whatever use_distributed_sampler says
            sampler = DistributedSampler(samples, world_size, rank, shuffle=False)
        batch_size = self.val_batch_size or max(1, self.batch_size // world_size)
        options: dict[str, Any] = worker_options(self.workers) | {"collate_fn": collate_prompts}
        return DataLoader(samples, batch_size=batch_size, sampler=sampler, **options)

    def _place(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


def placeholder_of(name: str) -> str:
    """Return a token for a style.

    Examples:
        >>> placeholder_of("Ada Stipple")
        '<ada-stipple>'
    """
    words = re.sub(r"\W+", "-", name.casefold()).strip("-")
    return f"<{words}>"


def _checked(placeholders: Sequence[str] | None, names: Sequence[str]) -> tuple[str, ...]:
    tokens = tuple(placeholders if placeholders is not None else map(placeholder_of, names))
    if len(tokens) != len(names) or len(set(tokens)) < len(tokens) or any(len(token.split()) != 1 for token in tokens):
        raise ImpastoError(
            f"Every style needs one word of its own as placeholder: {', '.join(names)} cannot have "
            f"{', '.join(tokens) or 'none'}."
        )
    return tokens


def _negative(item: Example) -> Path:
    assert item.negative is not None  # noqa: S101 - a source lists no training picture without one
    return item.negative


def _check_least(**given: tuple[int | None, int]) -> None:
    for name, (value, least) in given.items():
        if value is not None and value < least:
            raise ImpastoError(f"{name} is {value}, and must be at least {least}.")
