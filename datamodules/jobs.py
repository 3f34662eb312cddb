"""Jobs of local style transfer: which region of which picture is painted how, and where jobs come from."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datamodules.images import ImageReadError
from datamodules.masks import Box, box_mask, fit_mask, read_mask
from datamodules.sources import ProceduralArt, Split
from lightning_modules.errors import ImpastoError


class Labelled(NamedTuple):
    """The pixels of a picture of labels that have one of some numbers."""

    path: Path
    labels: tuple[int, ...]


Area = Path | Box | Labelled
"""Where a region is: a mask's file, a rectangle, or some labels of a picture of labels."""


class Job(NamedTuple):
    """One region of one picture, to be painted in one style.

    Attributes:
        image: The picture.
        style: The style in words, such as ``"cubism"`` or a painter's name.
        region: The region in words; empty for the whole picture.
        area: Where it is; None where a grounder has to look for it, or the whole picture is painted.
        painting: The whole picture as the painter painted it, where that is known.
        origin: Where the job is written, for messages, such as ``"Line 3 of jobs.csv"``.
    """

    image: Path
    style: str
    region: str = ""
    area: Area | None = None
    painting: Path | None = None
    origin: str = ""

    @property
    def needs_grounding(self) -> bool:
        """Whether there are only words for the region."""
        return bool(self.region) and self.area is None

    @property
    def name(self) -> str:
        """What messages call it."""
        where = self.region or "the whole picture"
        return f"{self.origin or 'The job'} ({where} in {self.image.name})"


class JobSource(ABC):
    """Lists jobs."""

    def prepare(self) -> None:  # noqa: B027  most sources have nothing to do
        """Download or generate what is missing; called in one process per machine."""

    @abstractmethod
    def jobs(self, split: Split) -> list[Job]:
        """List the jobs of a split, in a fixed order.

        Raises:
            ImpastoError: If there are none, or one of them cannot be done.
        """


class ProceduralJobs(JobSource):
    """Regions of ProceduralArt's scenes, each to be painted by one of its painters: the truth is known.

    Painters take turns, and so do scenes; which regions come first depends on the seed alone.

    Args:
        root: Where the pictures are, or will be generated.
        size: Side of the generated pictures, in pixels.
        contents_per_split: Number of contents of ``train``, ``val`` and ``test``; None takes the generator's own.
        seed: Of the generated pictures and of the choice of jobs.
        count: How many jobs a split has; fewer where its scenes have no more.
        share: Smallest and largest share of the picture that a region may take.

    Raises:
        ImpastoError: If the count is not at least 1, or the shares are no range in [0, 1].
    """

    def __init__(
        self,
        root: Path | str = "data/procedural",
        *,
        size: int = 256,
        contents_per_split: dict[str, int] | None = None,
        seed: int = 0,
        count: int = 24,
        share: tuple[float, float] = (0.05, 0.7),
    ) -> None:
        if count < 1 or not 0 <= share[0] < share[1] <= 1:
            raise ImpastoError(f"ProceduralJobs needs at least 1 job and a range of shares, not {count} and {share}.")
        self.art = ProceduralArt(root, size=size, contents_per_split=contents_per_split, seed=seed)
        self.count = count
        self.share = share

    def prepare(self) -> None:
        """Generate the data set, and the regions of its scenes, unless they are there already."""
        from datamodules.procedural.region_files import named_regions  # slow to load, and other sources do without

        self.art.prepare()
        for split in ("val", "test"):
            named_regions(self.art.root, split)

    def jobs(self, split: Split) -> list[Job]:
        """List the jobs of a split: the first regions of all scenes, then the second ones, and so on."""
        from datamodules.procedural import PAINTERS

        regions, painters = self._regions(split), list(PAINTERS)
        if not regions:
            raise ImpastoError(f"ProceduralArt's {split} split has no region of a fitting size: make more contents.")
        jobs = []
        for number in range(min(self.count, len(regions) * len(painters))):
            turn, place = divmod(number, len(regions))
            title, name, labels = regions[place]
            # One region never meets a painter twice, and the first twelve regions meet one each.
            jobs.append(self._job(split, title, name, labels, painters[(place + turn) % len(painters)]))
        return jobs

    def _regions(self, split: Split) -> list[tuple[str, str, tuple[int, ...]]]:
        from datamodules.procedural.contents import SPLITS
        from datamodules.procedural.region_files import named_regions

        by_scene: dict[str, list[tuple[str, str, tuple[int, ...]]]] = {}
        for region in named_regions(self.art.root, split):
            if self.share[0] <= region.share <= self.share[1]:
                by_scene.setdefault(region.title, []).append((region.title, region.name, region.labels))
        rng = np.random.default_rng([self.art.seed, SPLITS.index(split)])
        shuffled = [[regions[int(place)] for place in rng.permutation(len(regions))] for regions in by_scene.values()]
        rounds = range(max(map(len, shuffled), default=0))
        return [regions[turn] for turn in rounds for regions in shuffled if turn < len(regions)]

    def _job(self, split: Split, title: str, name: str, labels: tuple[int, ...], painter: str) -> Job:
        folder = self.art.root / split
        return Job(
            image=folder / "contents" / f"{title}.png",
            style=painter,
            region=name,
            area=Labelled(folder / "regions" / f"{title}.png", labels),
            painting=folder / "paintings" / painter / f"{title}.png",
            origin=f"ProceduralArt {title}",
        )


def area_mask(area: Area, height: int, width: int) -> Tensor:
    """Return the mask of an area in a picture, ``(1, H, W)`` in [0, 1].

    Args:
        area: Where it is.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.

    Raises:
        ImpastoError: If its file cannot be read, or it lies outside the picture.
    """
    if isinstance(area, Box):
        return box_mask(area, height, width)
    if isinstance(area, Labelled):
        return fit_mask(_labelled(area), height, width)
    return fit_mask(read_mask(area), height, width)


def _labelled(area: Labelled) -> Tensor:
    try:
        with Image.open(area.path) as image:
            labels = np.array(image)
    except OSError as error:
        raise ImageReadError(f"The labels {area.path} cannot be read ({error}): prepare the data again.") from error
    return torch.from_numpy(np.isin(labels, area.labels))[None].float()
