"""Which values of a column are the best, as far as their intervals tell."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from experiments.report.records import Measurement

Better = Literal["higher", "lower", "none"]
Mark = Literal["best", "tied", "leading", ""]
# Names that start so grow with quality; the others fall. Reference values, which no method can improve, get no mark.
GROWING = ("deception", "region_deception", "region_ssim", "region_direction", "region_clip", "mask_iou", "ssim", "csd",
           "clip", "accuracy", "way", "panel")  # fmt: skip
HIGHER = tuple(f"{stage}{name}" for stage in ("val/", "test/", "") for name in GROWING)
REFERENCES = ("_ceiling", "_floor", "_chance", "_untrained")
# Below 0 there is no halo, and the least number is that of a photograph that nobody painted.
UNRANKED = re.compile("(val/|test/)?halo")
STAND_INS = re.compile("_(embedded|hed|random)$")  # networks that a metric computed with stand-ins names


def direction(name: str) -> Better:
    """Say which values of a metric are better.

    Examples:
        >>> direction("val/deception_embedded"), direction("val/lpips_truth"), direction("val/deception_floor")
        ('higher', 'lower', 'none')
    """
    if is_reference(name):
        return "none"
    return "higher" if name.startswith(HIGHER) else "lower"


def ranking(name: str, better: str) -> str:
    """Return by what a metric's rows are ranked: ``better``, or ``none`` where the extreme value is not the best.

    Examples:
        >>> ranking("val/halo", "lower"), ranking("val/style_loss", "lower")
        ('none', 'lower')
    """
    return "none" if UNRANKED.match(name) else better


def is_reference(name: str) -> bool:
    """Tell whether a number says what others are to be read against, such as that of true paintings."""
    return STAND_INS.sub("", name).endswith(REFERENCES)


def stand_in(name: str) -> str:
    """Return which network stood in for the published one, or an empty string.

    Examples:
        >>> stand_in("val/sifid_embedded"), stand_in("val/ssim_content")
        ('embedded', '')
    """
    found = STAND_INS.search(name)
    return found.group(1) if found else ""


def marks(column: Sequence[Measurement | None], better: str) -> list[Mark]:
    """Mark a column's best values.

    Args:
        column: One measurement a row; None where it was not measured.
        better: Which values are better.

    Returns:
        For each row ``best`` where its interval is apart from all others, ``tied`` for all whose intervals overlap with
        that of the best value, and ``leading`` for the best value where some have no interval: without one nobody can
        tell a better method from a luckier seed. Fewer than two finite values get no mark.
    """
    known = {row: cell for row, cell in enumerate(column) if cell is not None and math.isfinite(cell.mean)}
    found: list[Mark] = [""] * len(column)
    if better == "none" or len(known) < 2:
        return found
    choose = max if better == "higher" else min
    top = choose(cell.mean for cell in known.values())
    leaders = [row for row, cell in known.items() if cell.mean == top]
    intervals = {row: cell.interval for row, cell in known.items() if cell.interval is not None}
    if len(intervals) < len(known):
        return _set(found, dict.fromkeys(leaders, "leading"))
    low, high = intervals[leaders[0]]
    near = [
        row
        for row, (other_low, other_high) in intervals.items()
        if row in leaders or (other_low <= high and low <= other_high)
    ]
    return _set(found, dict.fromkeys(near, "tied" if len(near) > 1 else "best"))


def _set(found: list[Mark], new: Mapping[int, Mark]) -> list[Mark]:
    return [new.get(row, mark) for row, mark in enumerate(found)]
