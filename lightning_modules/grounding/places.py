"""From places in words to regions: unions, complements, and what the other regions leave."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.grounding.phrases import Where
from lightning_modules.grounding.regions import Grounder, Region, outside, region_of, united
from lightning_modules.grounding.spatial import is_plural

Place = Where | Grounder | None
"""A place in words, one that is shown, or the whole picture."""


def locate(image: Tensor, places: Sequence[Place], grounder: Grounder) -> list[Region | None]:
    """Find all places on one picture, before any of it is painted.

    Args:
        image: ``(3, H, W)``, RGB in [0, 1].
        places: What `parse_prompt` gives, or a grounder that needs no words.
        grounder: Finds names; of a name in the singular the first region is taken.

    Returns:
        A region for each place; None for the whole picture.

    Raises:
        ImpastoError: If a place is not found, or nothing is left of the picture where everything but it is meant.
    """
    found = [None if place is None or _is_rest(place) else _found(image, place, grounder) for place in places]
    named = [region for region in found if region is not None]
    pairs = zip(places, found, strict=True)
    return [_left_by(named) if place is not None and _is_rest(place) else region for place, region in pairs]


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


def _is_rest(place: Where | Grounder) -> bool:
    return isinstance(place, Where) and not place.names


def _found(image: Tensor, place: Where | Grounder, grounder: Grounder) -> Region:
    if not isinstance(place, Where):
        return place.ground(image, "")[0]
    whole = united([_one(image, name, grounder) for name in place.names])
    return outside(whole) if place.outside else whole


def _one(image: Tensor, name: str, grounder: Grounder) -> Region:
    regions = grounder.ground(image, name)
    return united(regions) if is_plural(name) else regions[0]


def _left_by(regions: Sequence[Region]) -> Region:
    covered = torch.stack([region.mask for region in regions]).amax(0)
    return region_of(1 - covered, min(region.score for region in regions), "what the other regions leave")
