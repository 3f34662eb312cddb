"""Which styles `impasto stylize` paints where: the clauses of a prompt, found on each picture before it is painted."""

import argparse
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.masks import box_mask, fit_mask, parse_box, parse_point, read_mask
from experiments.painting.regions import mask_file
from lightning_modules.base import StyleTransferModule
from lightning_modules.errors import ImpastoError
from lightning_modules.grounding import (
    Clause,
    GivenHint,
    GivenMask,
    Grounder,
    Hint,
    Region,
    Segmenter,
    Settings,
    Where,
    find_grounder,
    find_segmenter,
    locate,
    parse_prompt,
    parse_where,
)
from lightning_modules.grounding.phrases import settled
from lightning_modules.grounding.places import Place, overlaps
from lightning_modules.paths import shown

LEAST_OVERLAP = 0.005
"""Shares of a region that are worth a warning where another lies on it."""
PLAIN = frozenset({"mask", "box"})
"""Sources that the user drew."""


class Shown(NamedTuple):
    """A region that the user shows: a mask, or a box and points, as they were written."""

    mask: Path | None = None
    box: str | None = None
    points: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.mask) if self.mask is not None else " and ".join([*filter(None, [self.box]), *self.points])


class Task(NamedTuple):
    """One style and its place; None is the whole picture."""

    style: str
    place: Where | Shown | None

    @property
    def name(self) -> str:
        """What the place is called."""
        return "whole picture" if self.place is None else shown(str(self.place))


class Found(NamedTuple):
    """A task on one picture."""

    task: Task
    region: Region | None


def has_clauses(model: StyleTransferModule) -> bool:
    """Tell whether a method's prompts say where: those of a method that takes words and a region."""
    return {"text", "region"} <= model.conditions


class Localizer:
    """Finds the regions of a prompt's clauses.

    Args:
        args: The options of `impasto stylize`.
        device: Where grounders run.
        say: Gets one sentence about what a user should know.

    Raises:
        ImpastoError: If styles and regions do not fit together.
    """

    def __init__(self, args: argparse.Namespace, device: str, say: Callable[[str], None]) -> None:
        self._grounder_name = args.grounder
        self._settings = Settings(device, args.download, args.sam, query=args.query, frame=args.frame, say=say)
        self._say = say
        self.tasks = _tasks(args, say)

    @cached_property
    def _grounder(self) -> Grounder:
        return find_grounder(self._grounder_name, self._settings)

    @cached_property
    def _segmenter(self) -> Segmenter:
        return find_segmenter(self._grounder_name, self._settings)

    def find(self, source: Path, content: Tensor) -> list[Found]:
        """Find all regions on one picture.

        Args:
            source: The file that is painted; a folder of masks has one of its name.
            content: ``(3, H, W)``, as it is painted.

        Raises:
            ImpastoError: If one is not found, or who should find it is not there.
        """
        places: list[Place] = [self._place(task.place, source, content) for task in self.tasks]
        needs_words = any(isinstance(place, Where) and place.names for place in places)
        nobody = GivenMask(torch.ones(1, *content.shape[-2:]))
        regions = locate(content, places, self._grounder if needs_words else nobody)
        for earlier, later, share in overlaps(regions):
            if share >= LEAST_OVERLAP:
                below, above = self.tasks[earlier].name, self.tasks[later].name
                self._say(f"'{above}' covers {share:.1%} of '{below}': there, the later style is seen.")
        return [Found(task, region) for task, region in zip(self.tasks, regions, strict=True)]

    def _place(self, place: Where | Shown | None, source: Path, content: Tensor) -> Place:
        if not isinstance(place, Shown):
            return place
        size = (content.shape[-2], content.shape[-1])
        if place.mask is not None:
            return GivenMask(fit_mask(read_mask(mask_file(place.mask, source)), *size))
        if self._grounder_name == "box" and place.box is not None:
            return GivenMask(box_mask(parse_box(place.box), *size), "box")
        return GivenHint(_hint(place, size), self._segmenter)


def paint_regions(
    content: Tensor, found: Sequence[Found], paint: Callable[[str, Tensor | None], Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Paint every region from the picture as it was, one after the other, later ones over earlier ones.

    ``r_k = p_k + (1 - m_k) (r_{k-1} - c)`` where ``m_k > 0``, and ``r_{k-1}`` elsewhere: a soft border shows what was
    painted below it.

    Args:
        content: c, ``(3, H, W)``, RGB in [0, 1].
        found: The regions, m.
        paint: Returns p, the content in a style within a mask ``(1, H, W)``, or everywhere.

    Returns:
        The result, and where it was painted, ``(1, H, W)``; None for everywhere.

    Source: LEAST, eq. 6 and 7; its f sees earlier results, and ours the content.
    """
    result, touched = content, torch.zeros(1, *content.shape[-2:])
    for task, region in found:
        if region is None:
            result, touched = paint(task.style, None), torch.ones_like(touched)
            continue
        painted = paint(task.style, region.mask)
        blended = (painted + (1 - region.mask) * (result - content)).clamp(0, 1)
        result = torch.where(region.mask > 0, blended, result)
        touched = torch.maximum(touched, region.mask)
    return result, None if bool((touched > 0).all()) else touched


def describe(found: Found) -> str:
    """Return a line about what is painted where, and who found it."""
    task, region = found
    if region is None:
        return f"{task.name}: {task.style}"
    share = float(region.mask.mean())
    return f"{task.name}: {task.style} ({share:.1%} of the picture, found by {region.source}, score {region.score:.2f})"


def drawn(found: Sequence[Found]) -> list[tuple[str, Region]]:
    """Return what the grounder's picture shows; nothing where the user drew all regions."""
    regions = [(f"{task.name}: {task.style}", region) for task, region in found if region is not None]
    return [] if all(region.source in PLAIN for _, region in regions) else regions


def _tasks(args: argparse.Namespace, say: Callable[[str], None]) -> list[Task]:
    if args.region:
        return _assigned(args.region)
    prompt = parse_prompt(args.prompt)
    if prompt.remainder:
        say(f"Not understood, and left out of the prompt: '{prompt.remainder}'.")
    shown_region = Shown(args.mask, args.box, tuple(args.point))
    if not any(shown_region):
        return [Task(*clause) for clause in prompt.clauses]
    if len(prompt.clauses) > 1:
        names = " and ".join(Task(*clause).name for clause in prompt.clauses)
        raise ImpastoError(f"{shown_region} cannot be {names} at once: give each its own --region PLACE=STYLE.")
    return [Task(prompt.clauses[0].style, shown_region)]


def _assigned(regions: Sequence[tuple[str, str]]) -> list[Task]:
    """Read what ``--region`` was given: words, a box, a point or the file of a mask, and a style."""
    tasks = [Task(style, _assigned_place(place)) for place, style in regions]
    words = [Clause(task.style, task.place) for task in tasks if not isinstance(task.place, Shown)]
    clauses = list(settled(words, others=len(words) < len(tasks)))
    kept = []
    for task in tasks:
        if isinstance(task.place, Shown):
            kept.append(task)
        elif clauses:
            kept.append(Task(*clauses.pop(0)))
    return kept


def _assigned_place(text: str) -> Where | Shown | None:
    numbers = text.count(",") if text.replace(",", "").replace(".", "").replace(" ", "").isdigit() else 0
    if numbers == 3:
        return Shown(box=text)
    if numbers == 1:
        return Shown(points=(text,))
    return Shown(mask=Path(text)) if Path(text).is_file() else parse_where(text)


def _hint(place: Shown, size: tuple[int, int]) -> Hint:
    height, width = size
    points = []
    for text in place.points:
        x, y, shares = parse_point(text)
        points.append((min(x * width, width - 1), min(y * height, height - 1)) if shares else (x, y))
    if place.box is None:
        return Hint(None, tuple(points))
    box = parse_box(place.box)
    across, down = (width, height) if box.shares else (1, 1)
    return Hint((box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down), tuple(points))
