"""Grounding DINO: boxes of everything that a noun names; which of them a phrase means is geometry."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.grounding.hub import Loaded
from lightning_modules.grounding.instances import Instance, meant
from lightning_modules.grounding.regions import Box, Region, to_bytes, working_copy
from lightning_modules.grounding.segmenters import Hint, Segmenter

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
        size = (image.shape[-2], image.shape[-1])
        instances = meant(phrase, lambda noun: self._detect(image, noun), size, self._name)
        return [self._region(image, instance.box, instance.score) for instance in instances]

    def _region(self, image: Tensor, box: Box, score: float) -> Region:
        region = self._segmenter.segment(image, Hint(box))
        return region._replace(source=f"{self._name} + {region.source}", box=box, score=score)

    def _detect(self, image: Tensor, noun: str) -> list[Instance]:
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
        return [Instance(boxes[number], scores[number]) for number in distinct(boxes, scores)]


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
