"""The data module of local style transfer: jobs, each a region of a picture to be painted in a style."""

import re
from pathlib import Path
from typing import Any, Literal, Protocol

from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.batches import worker_options
from datamodules.images import read_image
from datamodules.job_batches import (
    JobLoader,
    JobSample,
    JobSamples,
    JobStream,
    ShareSampler,
    collate_jobs,
    share_of,
)
from datamodules.job_table import JobTable, PromptParser
from datamodules.jobs import Job, JobSource
from datamodules.sources import Split
from lightning_modules.errors import ImpastoError

SMALLEST = 16
"""Side of pictures in pixels."""


class Grounder(Protocol):
    """Finds what words say in a picture."""

    def ground(self, image: Tensor, phrase: str) -> Any:
        """Return regions, the one that is meant first, each with an attribute ``mask``, ``(1, H, W)`` in [0, 1].

        Args:
            image: ``(3, H, W)``, RGB in [0, 1].
            phrase: Such as ``"the leftmost chair"``.
        """


class LocalStyleDataModule(LightningDataModule):
    """Jobs of local style transfer as `lightning_modules.types.JobBatch`, for methods that fit a network to each.

    A training batch is one iteration of ``jobs_per_batch`` jobs: all iterations of the first jobs, then those of the
    next. A checkpoint continues in the middle of a job. An epoch ends when every job had all its iterations.
    Validation and prediction take the same jobs once, test those of the test split. Every rank has the same share of
    them in all of these; where they do not divide, a few are repeated, with their ``index``. A prediction repeats
    none, unless there are fewer jobs than ranks.

    Pictures, masks and truths are cut to centre squares of ``size`` pixels, as those of the other data modules are; a
    region of which nothing is left is an error. With ``size: null`` they keep their own size, and only pictures of one
    size go side by side.

    Args:
        jobs: A source of jobs, or the CSV file of a `JobTable`.
        size: Side of the pictures, in pixels; None leaves them as they are.
        jobs_per_batch: Jobs side by side, on every rank.
        iterations: Of every job, in training.
        val_batch_size: Of every rank; None takes ``jobs_per_batch``.
        grounder: Looks for regions of which there are only words, in the whole picture, on the rank that paints them.
        ground: ``missing``, or ``all`` to look for every region that has a name; where it really is then becomes
            ``true_mask``.
        parser: Reads the prompts of a CSV file without a column ``style``.
        workers: Processes that read pictures.

    Attributes:
        artists: The styles, in the order of the labels.
    """

    def __init__(
        self,
        jobs: JobSource | Path | str,
        *,
        size: int | None = 256,
        jobs_per_batch: int = 1,
        iterations: int = 200,
        val_batch_size: int | None = None,
        grounder: Grounder | None = None,
        ground: Literal["missing", "all"] = "missing",
        parser: PromptParser | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__()
        least = {"size": (size, SMALLEST), "jobs_per_batch": (jobs_per_batch, 1), "iterations": (iterations, 1)}
        for name, (value, smallest) in least.items():
            if value is not None and value < smallest:
                raise ImpastoError(f"{name} is {value}, and must be at least {smallest}.")
        self.jobs = jobs if isinstance(jobs, JobSource) else JobTable(jobs, parser)
        self.size = size
        self.jobs_per_batch = jobs_per_batch
        self.iterations = iterations
        self.val_batch_size = val_batch_size
        self.grounder = grounder
        self.ground = ground
        self.workers = workers
        self.artists: tuple[str, ...] = ()
        self._samples: dict[Split, JobSamples] = {}
        self._found: dict[tuple[Path, str], Tensor] = {}

    @property
    def style(self) -> Any:
        """Paintings by the painters that the jobs name; None where the source has none."""
        return getattr(self.jobs, "art", None)

    @property
    def val_size(self) -> int | None:
        """Side of the pictures, in pixels."""
        return self.size

    def prepare_data(self) -> None:
        """Download or generate what the source misses, once per machine."""
        self.jobs.prepare()

    def setup(self, stage: str | None = None) -> None:
        """List the jobs; afterwards ``artists`` holds the styles.

        Raises:
            ImpastoError: If a job cannot be done, or needs a grounder and there is none.
        """
        wanted: dict[Split, set[str | None]] = {"val": {None, "fit", "validate", "predict"}, "test": {None, "test"}}
        lists = {split: self.jobs.jobs(split) for split, stages in wanted.items() if stage in stages}
        styles = {job.style for jobs in lists.values() for job in jobs}
        self.artists += tuple(sorted(styles - set(self.artists)))  # labels given before stay
        for split, jobs in lists.items():
            self._check(jobs)
            most = max(self.jobs_per_batch, self.val_batch_size or 1)
            self._samples[split] = JobSamples(jobs, self.artists, size=self.size, kept=most)

    def train_dataloader(self) -> JobLoader:
        """Return this rank's endless stream of iterations, cut into epochs."""
        samples, numbers = self._ready("val")
        stream = JobStream(numbers, jobs_per_batch=self.jobs_per_batch, iterations=self.iterations)
        return JobLoader(samples, stream, ranks=self._place()[1], workers=self.workers)

    def val_dataloader(self) -> DataLoader[JobSample]:
        """Return this rank's jobs, each once."""
        return self._once("val")

    def test_dataloader(self) -> DataLoader[JobSample]:
        """Return this rank's jobs of the test split, each once."""
        return self._once("test")

    def predict_dataloader(self) -> DataLoader[JobSample]:
        """Return this rank's jobs, each on one rank alone."""
        return self._once("val", repeating=False)

    def describe(self, index: int, split: Split = "val") -> dict[str, str]:
        """Return what a job is, for a table: ``job``, which names files, ``image``, ``style`` and ``region``."""
        job = self._samples[split].jobs[index]
        parts = (f"{index:04d}", job.image.stem, job.region or "everything", job.style)
        name = "_".join(re.sub(r"[^\w-]+", "-", part).strip("-")[:40] for part in parts)
        return {"job": name, "image": str(job.image), "style": job.style, "region": job.region}

    def _once(self, split: Split, *, repeating: bool = True) -> DataLoader[JobSample]:
        samples, numbers = self._ready(split, repeating=repeating)
        rank, ranks = self._place()
        sampler = ShareSampler(samples, ranks, rank, numbers) if ranks > 1 else None
        options: dict[str, Any] = worker_options(self.workers) | {"collate_fn": collate_jobs}
        # By name: in a prediction Lightning builds it once more.
        return DataLoader(samples, batch_size=self.val_batch_size or self.jobs_per_batch, sampler=sampler, **options)

    def _ready(self, split: Split, *, repeating: bool = True) -> tuple[JobSamples, list[int]]:
        """Return the jobs of a split with this rank's numbers, once its grounder has seen them."""
        samples = self._samples.get(split)
        if samples is None:
            raise ImpastoError(f"The jobs of the {split} split are not set up: call setup first.")
        numbers = share_of(*self._place(), len(samples), repeating=repeating)
        for number in numbers:
            if self._wants_grounding(samples.jobs[number]):
                samples.found[number] = self._grounded(samples.jobs[number])
        return samples, numbers

    def _wants_grounding(self, job: Job) -> bool:
        return job.needs_grounding or (self.ground == "all" and bool(job.region))

    def _grounded(self, job: Job) -> Tensor:
        assert self.grounder is not None  # noqa: S101 - `setup` has refused
        key = (job.image, job.region)
        if key not in self._found:
            try:
                regions = self.grounder.ground(read_image(job.image), job.region)
            except ImpastoError as error:
                raise ImpastoError(f"{job.name}: {error}") from error
            if not regions:
                raise ImpastoError(f"{job.name} is not found by {type(self.grounder).__name__}: give its mask or box.")
            self._found[key] = regions[0].mask.detach().float().cpu()
        return self._found[key]

    def _check(self, jobs: list[Job]) -> None:
        lost = [job for job in jobs if self._wants_grounding(job)]
        if lost and self.grounder is None:
            raise ImpastoError(
                f"{len(lost)} of {len(jobs)} jobs have words for their region alone, first {lost[0].name}: give each a "
                "mask or a box, or set data.grounder."
            )

    def _place(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
