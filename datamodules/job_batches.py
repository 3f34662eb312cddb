"""Jobs as batches: read, cut to one size, stacked; and the stream in which every job takes many iterations."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, Sampler

from datamodules.batches import ResumableLoader, stack, stack_or_none
from datamodules.images import read_pixels
from datamodules.jobs import Job, area_mask
from datamodules.pictures import Pixels, centre_crop
from lightning_modules.errors import ImpastoError
from lightning_modules.types import JobBatch

Mask = NDArray[np.uint8]


class Turn(NamedTuple):
    """One iteration of one job; without a number outside training."""

    job: int
    iteration: int | None = None


class JobSample(NamedTuple):
    """One job before batching, in uint8: pictures ``(H, W, 3)``, masks ``(H, W, 1)``."""

    content: Pixels
    mask: Mask
    style: str
    artist: int
    number: int
    region: str
    iteration: int | None = None
    truth: Pixels | None = None
    true_mask: Mask | None = None


class JobSamples(Dataset[JobSample]):
    """The jobs of a split as pictures and masks.

    Args:
        jobs: The jobs.
        artists: The styles; positions are labels.
        size: Side of the centre squares that pictures and masks are cut to, in pixels; None leaves them as they are.
        kept: How many jobs stay in memory: those of one batch are read once for all their iterations.

    Attributes:
        found: By job, the mask that a grounder found in the whole picture, ``(1, H, W)`` in [0, 1].
    """

    def __init__(self, jobs: Sequence[Job], artists: Sequence[str], *, size: int | None, kept: int) -> None:
        self.jobs = list(jobs)
        self.artists = list(artists)
        self.size = size
        self.found: dict[int, Tensor] = {}
        self._kept: dict[int, JobSample] = {}
        self._most = kept

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, turn: Turn | int) -> JobSample:
        """Return one job at one iteration; by a mere number, without an iteration.

        Raises:
            ImpastoError: If it cannot be read, or nothing of its region is left.
        """
        number, iteration = turn if isinstance(turn, Turn) else Turn(turn)
        if number not in self._kept:
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            self._kept[number] = self._read(number)
        return self._kept[number]._replace(iteration=iteration)

    def _read(self, number: int) -> JobSample:
        job = self.jobs[number]
        pixels = read_pixels(job.image)
        known, found = self._known(job, *pixels.shape[:2]), self.found.get(number)
        mask = found if found is not None else known if known is not None else torch.ones(1, *pixels.shape[:2])
        content, cut = self._cut(pixels), self._cut_mask(mask, job)
        return JobSample(
            content,
            cut,
            job.style,
            self.artists.index(job.style),
            number,
            job.region,
            truth=self._truth(job, pixels, cut),
            true_mask=None if found is None or known is None else self._cut_mask(known, job),
        )

    def _known(self, job: Job, height: int, width: int) -> Tensor | None:
        if job.area is None:
            return None
        try:
            return area_mask(job.area, height, width)
        except ImpastoError as error:
            raise ImpastoError(f"{job.name}: {error}") from error

    def _cut(self, pixels: Pixels) -> Pixels:
        return pixels if self.size is None else centre_crop(pixels, self.size)

    def _cut_mask(self, mask: Tensor, job: Job) -> Mask:
        grey = mask.mul(255).round().byte().permute(1, 2, 0).numpy()
        cut: Mask = self._cut(grey.repeat(3, axis=2))[..., :1]
        if not cut.any():
            crop = "" if self.size is None else ", at least in the middle square of the picture: set data.size to null"
            raise ImpastoError(f"{job.name} has an empty region{crop}.")
        return cut

    def _truth(self, job: Job, pixels: Pixels, mask: Mask) -> Pixels | None:
        """Return the painting inside the mask and the content outside."""
        if job.painting is None:
            return None
        painting = read_pixels(job.painting)
        if painting.shape != pixels.shape:
            raise ImpastoError(
                f"{job.name} has a truth of {_words(painting)} for a picture of {_words(pixels)} pixels."
            )
        weight, content = mask.astype(np.float32) / 255, self._cut(pixels).astype(np.float32)
        blended: Pixels = (content + weight * (self._cut(painting) - content) + 0.5).astype(np.uint8)
        return blended


class JobStream(Sampler[list[Turn]]):
    """Batches of jobs, each batch one iteration of them: all iterations of the first ones, then those of the next.

    Batch ``k`` is a function of ``k`` alone; after the last job the first comes again.

    Args:
        jobs: This rank's jobs, by number.
        jobs_per_batch: How many go side by side.
        iterations: Of every job.

    Attributes:
        start: Number of the batch that comes next.
    """

    def __init__(self, jobs: Sequence[int], *, jobs_per_batch: int, iterations: int) -> None:
        self.groups = [jobs[first : first + jobs_per_batch] for first in range(0, len(jobs), jobs_per_batch)]
        self.iterations = iterations
        self.start = 0

    def __len__(self) -> int:
        return len(self.groups) * self.iterations

    def __iter__(self) -> Iterator[list[Turn]]:
        """Yield an epoch's worth of batches from number ``start`` on."""
        for number in range(self.start, self.start + len(self)):
            yield self.batch(number)

    def batch(self, number: int) -> list[Turn]:
        """Return one batch of the endless stream, 0 for the first."""
        group, iteration = divmod(number % len(self), self.iterations)
        return [Turn(job, iteration) for job in self.groups[group]]


class JobLoader(ResumableLoader):
    """A stream of jobs that a checkpoint can continue at the very next iteration, of the same jobs only.

    Args:
        samples: The jobs.
        stream: The batches.
        ranks: Among how many processes the jobs are shared.
        workers: Processes that read; 0 reads in the main process.
    """

    def __init__(self, samples: JobSamples, stream: JobStream, *, ranks: int, workers: int = 0) -> None:
        super().__init__(samples, stream, workers=workers, collate=collate_jobs)
        wishes = [(job.image.name, job.style, job.region) for job in samples.jobs]
        self._order: dict[str, Any] = {
            "jobs": hashlib.blake2b(repr(wishes).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest(),
            "iterations": stream.iterations,
            "jobs_per_batch": max(map(len, stream.groups)),
            "ranks": ranks,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream is, and of what it is; the same on every rank."""
        return {**super().state_dict(), **self._order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the iteration after the last one that was drawn.

        Raises:
            ImpastoError: If the checkpoint is in the middle of other jobs, or of jobs that were shared otherwise.
        """
        changed = [name for name, value in self._order.items() if state.get(name) != value]
        if changed:
            raise ImpastoError(
                f"The checkpoint is in the middle of jobs that differ in {', '.join(changed)}: continue with what it "
                "was begun with, or start a new run without --ckpt_path."
            )
        super().load_state_dict(state)


def collate_jobs(samples: Sequence[JobSample]) -> JobBatch:
    """Stack jobs; what any of them lacks is None in the batch.

    Raises:
        ImpastoError: If their pictures differ in size.
    """
    sizes = {sample.content.shape for sample in samples}
    if len(sizes) > 1:
        raise ImpastoError(
            "Pictures of different sizes make no batch: set data.size, or data.jobs_per_batch to 1, to paint them "
            "side by side."
        )
    iterations = [sample.iteration for sample in samples]
    return JobBatch(
        content=stack([sample.content for sample in samples]),
        mask=stack([sample.mask for sample in samples]),
        prompt=[sample.style for sample in samples],
        artist=torch.tensor([sample.artist for sample in samples]),
        index=torch.tensor([sample.number for sample in samples]),
        region=[sample.region for sample in samples],
        iteration=None if None in iterations else torch.tensor(iterations),
        truth=stack_or_none([sample.truth for sample in samples]),
        true_mask=stack_or_none([sample.true_mask for sample in samples]),
    )


def share_of(rank: int, ranks: int, count: int, *, repeating: bool = True) -> list[int]:
    """Return the numbers of one rank's jobs.

    Args:
        rank: Which one.
        ranks: How many there are.
        count: Of all jobs.
        repeating: Whether every rank has as many, for which some repeat where they do not divide. A rank never has
            none.
    """
    each = -(-count // ranks)
    own = list(range(rank, count, ranks))
    return own if own and not repeating else [number % count for number in range(rank, each * ranks, ranks)]


class ShareSampler(DistributedSampler[Any]):
    """One rank's jobs in their order; Lightning leaves samplers of this kind alone.

    Args:
        samples: All jobs.
        ranks: How many ranks there are.
        rank: Which one.
        numbers: Its jobs.
    """

    def __init__(self, samples: JobSamples, ranks: int, rank: int, numbers: Sequence[int]) -> None:
        super().__init__(samples, ranks, rank, shuffle=False)
        self.numbers = list(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[int]:
        """Yield their numbers."""
        return iter(self.numbers)


def _words(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
