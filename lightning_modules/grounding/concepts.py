"""SAM 3: from words to masks in one step; which of them a phrase means is geometry."""

import torch
from torch import Tensor

from lightning_modules.grounding.hub import Loaded
from lightning_modules.grounding.regions import (
    NotFoundError,
    Region,
    at_size,
    box_around,
    cleaned,
    region_of,
    to_bytes,
    working_copy,
)
from lightning_modules.grounding.spatial import choose, take_apart


class SAM3:
    """SAM 3 of transformers.

    Args:
        loaded: The model.
        threshold: Instances below this score are none.
    """

    def __init__(self, loaded: Loaded, threshold: float = 0.5) -> None:
        self._model, self._processor, self._name = loaded.model, loaded.processor, loaded.name
        self._threshold = threshold
        self._seen: tuple[Tensor, Tensor] | None = None

    def ground(self, image: Tensor, phrase: str) -> list[Region]:
        """Return regions: see `Grounder`."""
        if self._seen is None or self._seen[0] is not image:
            self._seen = (image, working_copy(image)[0])
        small = self._seen[1]
        spatial = take_apart(phrase)
        masks, scores = self._instances(small, spatial.noun)
        anchor = None if spatial.anchor is None else box_around(self._instances(small, spatial.anchor)[0][0])
        boxes = [box_around(mask) for mask in masks]
        chosen = choose(boxes, scores, spatial, (small.shape[-2], small.shape[-1]), anchor)
        if not chosen:
            raise NotFoundError(f"Of {len(boxes)} times '{spatial.noun}' in the picture, none is the '{phrase}'.")
        size = (image.shape[-2], image.shape[-1])
        return [region_of(at_size(cleaned(masks[n]), size), scores[n], self._name) for n in chosen]

    def _instances(self, image: Tensor, noun: str) -> tuple[list[Tensor], list[float]]:
        """Return masks ``(1, h, w)`` and scores of all that a noun names, the surest first."""
        inputs = self._processor(images=to_bytes(image), text=noun, return_tensors="pt").to(self._model.device)
        with torch.no_grad():
            output = self._model(**{name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")})
        found = self._processor.post_process_instance_segmentation(
            output, threshold=self._threshold, target_sizes=[tuple(image.shape[-2:])]
        )[0]
        pairs = zip(found["masks"].float().cpu(), found["scores"].tolist(), strict=True)
        pairs_left = sorted(((mask[None], score) for mask, score in pairs if mask.any()), key=lambda pair: -pair[1])
        if not pairs_left:
            raise NotFoundError(f"There is no '{noun}' in the picture, as far as {self._name} can tell.")
        return [mask for mask, _ in pairs_left], [score for _, score in pairs_left]
