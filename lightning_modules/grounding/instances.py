"""All that a model finds for a noun, and those of them that a phrase means."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from lightning_modules.grounding.regions import Box, NotFoundError
from lightning_modules.grounding.spatial import choose, take_apart


class Instance(NamedTuple):
    """One thing of those that a noun names.

    Attributes:
        box: Around it, in pixels.
        score: How sure the model is.
        mask: ``(1, h, w)``, of 0 and 1, where the model gives outlines.
    """

    box: Box
    score: float
    mask: Tensor | None = None


def meant(phrase: str, find: Callable[[str], Sequence[Instance]], size: tuple[int, int], finder: str) -> list[Instance]:
    """Return what a phrase means: its noun is looked for, and the rest of it is geometry.

    Args:
        phrase: Such as "the chair on the left of the sofa".
        find: Returns all that a noun names, the surest first.
        size: Height and width in pixels of the picture that the boxes lie in.
        finder: Who looks, in words.

    Raises:
        NotFoundError: If there is no such thing, or none that lies so.
    """

    def found(noun: str) -> Sequence[Instance]:
        instances = find(noun)
        if not instances:
            raise NotFoundError(f"There is no '{noun}' in the picture, as far as {finder} can tell.")
        return instances

    spatial = take_apart(phrase)
    instances = found(spatial.noun)
    anchor = None if spatial.anchor is None else found(spatial.anchor)[0].box
    boxes, scores = [each.box for each in instances], [each.score for each in instances]
    chosen = choose(boxes, scores, spatial, size, anchor)
    if not chosen:
        raise NotFoundError(f"Of {len(boxes)} times '{spatial.noun}' in the picture, none is the '{phrase}'.")
    return [instances[number] for number in chosen]
