"""The stream of training batches: which artists meet which contents, and how to continue it exactly.

Batch ``k`` is a pure function of the seed and ``k``, and every rank reads its share of it. Nothing that happened before
matters, so the number of batches drawn is all the state there is, whatever the number of workers and of ranks.
"""

import signal
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from datamodules.orders import make_order
from lightning_modules.errors import ImpastoError
from lightning_modules.types import StyleBatch

# Independent random streams of one seed.
_ARTISTS, _ORDER, AUGMENTATION, _PAINTINGS = range(4)

Key = TypeVar("Key")
Blocks = Sequence[int] | NDArray[np.int64] | None


class Draw(NamedTuple):
    """The key of one training sample; ``position`` numbers the samples of all batches and seeds the augmentation.

    ``artist`` is an artist's label, or the number of a painting where each is a style of its own.
    """

    position: int
    artist: int
    content: int


class Sample(NamedTuple):
    """One sample before batching, in uint8: pictures ``(S, S, 3)``, views ``(V, S, S, 3)``, a mask ``(S, S, 1)``."""

    content: NDArray[np.uint8]
    style: NDArray[np.uint8]
    artist: int
    prompt: str
    number: int
    reference: NDArray[np.uint8] | None = None
    truth: NDArray[np.uint8] | None = None
    views: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None


class EndlessBatches(Sampler[list[Key]], Generic[Key]):
    """An endless stream of batches, cut into epochs, over items that come in random order, none twice in a turn.

    Args:
        items: Number of them.
        batches_per_epoch: Length of an epoch.
        seed: Non-negative.
        rank: This process.
        world_size: Number of processes.
        blocks: Number of items of every block, where they lie in blocks; see `datamodules.orders.BlockOrder`.
        lanes: Samples of a batch on all ranks together; of use with ``blocks`` alone.

    Attributes:
        start: Number of the batch that comes next.
    """

    def __init__(
        self,
        items: int,
        *,
        batches_per_epoch: int,
        seed: int,
        rank: int,
        world_size: int,
        blocks: Blocks = None,
        lanes: int = 1,
    ) -> None:
        self.items = items
        self.batches_per_epoch = batches_per_epoch
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start = 0
        self._order = make_order(items, [seed, _ORDER], blocks=blocks, lanes=lanes)

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield an epoch's worth of batches from number ``start`` on."""
        for number in range(self.start, self.start + self.batches_per_epoch):
            yield self.batch(number)

    @abstractmethod
    def batch(self, number: int) -> list[Key]:
        """Return this rank's share of one batch of the endless stream, 0 for the first."""

    def item(self, position: int) -> int:
        """Return the item at a position of the endless stream of items."""
        return self._order.item(position)


class ArtistBatches(EndlessBatches[Draw]):
    """Batches of P artists times K contents each.

    Contents come in random order without repetition before all were seen; artists are drawn anew for every batch,
    without repetition inside it. Ranks cut a batch into equal shares between its artists, or each artist's share
    between ranks.

    Args:
        paintings: Number of paintings of every artist.
        contents: Number of contents.
        batch_size: Samples of a batch on all ranks together, P * K.
        artists_per_batch: P, on all ranks together.
        batches_per_epoch: Length of an epoch.
        power: Artists are drawn with probability proportional to (number of paintings) ** power.
        seed: Non-negative.
        rank: This process.
        world_size: Number of processes.
        blocks: Number of contents of every block, where they lie in blocks.

    Raises:
        ImpastoError: If the batch does not divide by its artists or by the ranks, or there are fewer artists than that.
    """

    def __init__(
        self,
        paintings: Sequence[int],
        contents: int,
        *,
        batch_size: int,
        artists_per_batch: int,
        batches_per_epoch: int,
        power: float = 0.0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        blocks: Blocks = None,
    ) -> None:
        _check_division(batch_size, artists_per_batch, world_size)
        super().__init__(
            contents, batches_per_epoch=batches_per_epoch, seed=seed, rank=rank, world_size=world_size,
            blocks=blocks, lanes=batch_size,
        )  # fmt: skip
        if artists_per_batch > len(paintings):
            raise ImpastoError(
                f"artists_per_batch is {artists_per_batch}, but there are only {len(paintings)} artists: lower it, or "
                "give more artists."
            )
        weights = np.asarray(paintings, dtype=np.float64) ** power
        self.probabilities = weights / weights.sum()
        self.batch_size = batch_size
        self.artists_per_batch = artists_per_batch

    def batch(self, number: int) -> list[Draw]:
        """Draw one batch, artist by artist, and return this rank's share of it.

        Args:
            number: Position in the endless stream, 0 for the first batch.
        """
        rng = np.random.default_rng([self.seed, _ARTISTS, number])
        artists = rng.choice(len(self.probabilities), self.artists_per_batch, replace=False, p=self.probabilities)
        first, per_artist = number * self.batch_size, self.batch_size // self.artists_per_batch
        share = self.batch_size // self.world_size
        return [
            Draw(first + place, int(artists[place // per_artist]), self.item(first + place))
            for place in range(self.rank * share, (self.rank + 1) * share)
        ]


class PaintingBatches(EndlessBatches[Draw]):
    """Batches of P paintings times K contents each, where every painting is a style of its own.

    Both come in random order, none twice before all were seen, block by block where they lie in blocks. Ranks cut a
    batch as those of `ArtistBatches` do.

    Args:
        paintings: Number of them.
        contents: Number of contents.
        batch_size: Samples of a batch on all ranks together, P * K.
        paintings_per_batch: P, on all ranks together.
        batches_per_epoch: Length of an epoch.
        seed: Non-negative.
        rank: This process.
        world_size: Number of processes.
        blocks: Number of contents of every block, where they lie in blocks.
        painting_blocks: The same of paintings.

    Raises:
        ImpastoError: If the batch does not divide by its paintings or by the ranks.
    """

    def __init__(
        self,
        paintings: int,
        contents: int,
        *,
        batch_size: int,
        paintings_per_batch: int,
        batches_per_epoch: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        blocks: Blocks = None,
        painting_blocks: Blocks = None,
    ) -> None:
        _check_division(batch_size, paintings_per_batch, world_size)
        super().__init__(
            contents, batches_per_epoch=batches_per_epoch, seed=seed, rank=rank, world_size=world_size,
            blocks=blocks, lanes=batch_size,
        )  # fmt: skip
        self._paintings = make_order(paintings, [seed, _PAINTINGS], blocks=painting_blocks, lanes=paintings_per_batch)
        self.batch_size = batch_size
        self.paintings_per_batch = paintings_per_batch

    def batch(self, number: int) -> list[Draw]:
        """Draw one batch, painting by painting, and return this rank's share of it.

        Args:
            number: Position in the endless stream, 0 for the first batch.
        """
        first, first_painting = number * self.batch_size, number * self.paintings_per_batch
        per_painting, share = self.batch_size // self.paintings_per_batch, self.batch_size // self.world_size
        return [
            Draw(first + place, self._paintings.item(first_painting + place // per_painting), self.item(first + place))
            for place in range(self.rank * share, (self.rank + 1) * share)
        ]


def _check_division(batch_size: int, artists_per_batch: int, world_size: int) -> None:
    if batch_size < 1 or artists_per_batch < 1 or batch_size % artists_per_batch:
        raise ImpastoError(
            f"batch_size {batch_size} is not a multiple of artists_per_batch {artists_per_batch}, each at least 1."
        )
    if batch_size % world_size or (artists_per_batch % world_size and world_size % artists_per_batch):
        raise ImpastoError(
            f"A batch of {batch_size} samples by {artists_per_batch} artists does not divide among {world_size} "
            "processes: take another number of devices, or another batch_size and artists_per_batch."
        )


class BatchStream(Protocol):
    """An endless stream of batches of keys, cut into epochs, that starts anywhere."""

    start: int

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield an epoch's worth of batches from number ``start`` on."""


class ResumableLoader:
    """An endless stream of batches, cut into epochs, that a checkpoint can continue at the very next batch.

    Lightning saves and restores ``state_dict`` by itself. torchdata's StatefulDataLoader would do it too, but keeps the
    workers' states with it and so cannot resume with another number of workers; the stream needs one number only.
    Not being a DataLoader, it is also safe from Lightning's replacing the sampler.

    Args:
        dataset: Takes the keys, such as a ``Draw``.
        batches: The stream.
        workers: Processes that read; 0 reads in the main process.
        collate: Makes a batch of samples; by default `collate`.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: BatchStream,
        *,
        workers: int = 0,
        collate: Callable[[Sequence[Any]], Any] | None = None,
    ) -> None:
        self.batches = batches
        self.drawn = 0
        self._epoch_start = 0
        self._inside_epoch = False
        own = {} if collate is None else {"collate_fn": collate}
        self._loader = DataLoader(dataset, batch_sampler=batches, **(worker_options(workers) | own))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        if not self._inside_epoch:
            self._epoch_start = self.drawn
        self._inside_epoch = False
        self.batches.start = self.drawn
        for batch in self._loader:
            self.drawn += 1
            yield batch
            if self.drawn == self._epoch_start + len(self):
                return

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches drawn, and that at the start of this epoch; the same on every rank."""
        return {"drawn": self.drawn, "epoch_start": self._epoch_start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the batch after the last one that was drawn."""
        self.drawn, self._epoch_start = state["drawn"], state["epoch_start"]
        self._inside_epoch = 0 < self.drawn - self._epoch_start < len(self)


def worker_options(workers: int) -> dict[str, Any]:
    """Return the DataLoader arguments that all loaders here share.

    Args:
        workers: Number of processes.
    """
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": _ignore_requeue_signal,
        "collate_fn": collate,
        "pin_memory": torch.cuda.is_available(),
        # Without its own generator every epoch would draw a number from torch's global one, and a resumed run, which
        # starts its epochs at other moments, would see other random numbers than an uninterrupted one.
        "generator": torch.Generator().manual_seed(0),
    }


def collate(samples: Sequence[Sample]) -> StyleBatch:
    """Stack samples; a field that is None in any of them is None in the batch.

    Args:
        samples: At least one, with pictures of one size.
    """
    return StyleBatch(
        content=stack([sample.content for sample in samples]),
        style=stack([sample.style for sample in samples]),
        artist=torch.tensor([sample.artist for sample in samples]),
        prompt=[sample.prompt for sample in samples],
        index=torch.tensor([sample.number for sample in samples]),
        reference=stack_or_none([sample.reference for sample in samples]),
        truth=stack_or_none([sample.truth for sample in samples]),
        views=stack_or_none([sample.views for sample in samples]),
        mask=stack_or_none([sample.mask for sample in samples]),
    )


def stack(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return pictures of one size, ``(..., H, W, C)`` in uint8, as ``(B, ..., C, H, W)``, float32 in [0, 1]."""
    stacked = torch.from_numpy(np.stack(pictures)).movedim(-1, -3)  # B, 3, S, S, or B, V, 3, S, S
    return stacked.to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)


def stack_or_none(pictures: Sequence[NDArray[np.uint8] | None]) -> Tensor | None:
    """Return the same, or None where one is missing."""
    given = [picture for picture in pictures if picture is not None]
    return stack(given) if len(given) == len(pictures) else None


def _ignore_requeue_signal(_worker: int) -> None:
    """SLURM's requeue signal reaches the workers too, and would kill the run that it asks to checkpoint."""
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
