"""From places in words to regions: unions, complements, and what the other regions leave."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.grounding.phrases import Where
from lightning_modules.grounding.regions import Grounder, Region, outside, region_of, united
from lightning_modules.grounding.spatial import is_plural


def locate(image: Tensor, places: Sequence[Where | None], grounder: Grounder) -> list[Region | None]:
    """Find all places on one picture, before any of it is painted.

    Args:
        image: ``(3, H, W)``, RGB in [0, 1].
        places: As `parse_prompt` gives them.
        grounder: Finds the names; of a name in the singular the first region is taken.

    Returns:
        A region for each place; None for the whole picture.

    Raises:
        ImpastoError: If a place is not found, or nothing is left of the picture where everything but it is meant.
    """
    found = [None if where is None or not where.names else _named(image, where, grounder) for where in places]
    rest = [place for place in found if place is not None]
    return [_rest(rest) if where is not None and not where.names else place
            for where, place in zip(places, found, strict=True)]  # fmt: skip


def overlaps(regions: Sequence[Region | None]) -> list[tuple[int, int, float]]:
    """Return which regions lie on which.

    Returns:
        Number of the earlier, number of the later, and the share of the earlier's pixels that the later covers too;
        the whole picture is covered by everything, and does not count.
    """
    inside = [None if region is None else region.mask > 0.5 for region in regions]
    pairs = []
    for later, above in enumerate(inside):
        for earlier, below in enumerate(inside[:later]):
            if above is None or below is None:
                continue
            share = float((above & below).sum()) / max(1, int(below.sum()))
            if share > 0:
                pairs.append((earlier, later, share))
    return pairs


def _named(image: Tensor, where: Where, grounder: Grounder) -> Region:
    regions = [_one(image, name, grounder) for name in where.names]
    whole = united(regions)
    return outside(whole) if where.outside else whole


def _one(image: Tensor, name: str, grounder: Grounder) -> Region:
    regions = grounder.ground(image, name)
    return united(regions) if is_plural(name) else regions[0]


def _rest(regions: Sequence[Region]) -> Region:
    covered = torch.stack([region.mask for region in regions]).amax(0)
    return region_of(1 - covered, min(region.score for region in regions), "what the other regions leave")
