"""Grounding DINO: boxes of everything that a noun names; which of them a phrase means is geometry."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.grounding.hub import Loaded
from lightning_modules.grounding.regions import Box, NotFoundError, Region, to_bytes, working_copy
from lightning_modules.grounding.segmenters import Hint, Segmenter
from lightning_modules.grounding.spatial import choose, take_apart

LARGEST = 1333
"""Longest side, in pixels, that the model sees."""
SAME = 0.7
"""Intersection over union from which two boxes are one thing."""


class GroundingDINO:
    """Grounding DINO for the boxes, a segmenter for the outlines.

    The model is asked for the noun alone: it does not know left from right.

    Args:
        loaded: The model.
        segmenter: Turns boxes into masks.
        threshold: Boxes below this score are none.
        text_threshold: Words below this score belong to no box.
    """

    def __init__(
        self, loaded: Loaded, segmenter: Segmenter, threshold: float = 0.3, text_threshold: float = 0.25
    ) -> None:
        self._model, self._processor, self._name = loaded.model, loaded.processor, loaded.name
        self._segmenter = segmenter
        self._threshold, self._text_threshold = threshold, text_threshold

    def ground(self, image: Tensor, phrase: str) -> list[Region]:
        """Return regions: see `Grounder`."""
        spatial = take_apart(phrase)
        boxes, scores = self._detect(image, spatial.noun)
        anchor = None if spatial.anchor is None else self._detect(image, spatial.anchor)[0][0]
        chosen = choose(boxes, scores, spatial, (image.shape[-2], image.shape[-1]), anchor)
        if not chosen:
            raise NotFoundError(f"Of {len(boxes)} times '{spatial.noun}' in the picture, none is the '{phrase}'.")
        return [self._region(image, boxes[number], scores[number]) for number in chosen]

    def _region(self, image: Tensor, box: Box, score: float) -> Region:
        region = self._segmenter.segment(image, Hint(box))
        return region._replace(source=f"{self._name} + {region.source}", box=box, score=score)

    def _detect(self, image: Tensor, noun: str) -> tuple[list[Box], list[float]]:
        small, scale = working_copy(image, LARGEST)
        inputs = self._processor(images=to_bytes(small), text=[[noun.replace(".", " ")]], return_tensors="pt")
        inputs = inputs.to(self._model.device)
        with torch.no_grad():
            output = self._model(**inputs)
        found = self._processor.post_process_grounded_object_detection(
            output,
            inputs["input_ids"],
            threshold=self._threshold,
            text_threshold=self._text_threshold,
            target_sizes=[tuple(small.shape[-2:])],
        )[0]
        boxes = [(x0 / scale, y0 / scale, x1 / scale, y1 / scale) for x0, y0, x1, y1 in found["boxes"].tolist()]
        scores = found["scores"].tolist()
        kept = distinct(boxes, scores)
        if not kept:
            raise NotFoundError(f"There is no '{noun}' in the picture, as far as {self._name} can tell.")
        return [boxes[number] for number in kept], [scores[number] for number in kept]


def distinct(boxes: Sequence[Box], scores: Sequence[float]) -> list[int]:
    """Return the numbers of the boxes without those that a surer one covers, the surest first."""
    kept: list[int] = []
    for number in sorted(range(len(boxes)), key=lambda n: -scores[n]):
        if all(overlap(boxes[number], boxes[other]) < SAME for other in kept):
            kept.append(number)
    return kept


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    union = sum(areas) - across * down
    return across * down / union if union > 0 else 0.0
