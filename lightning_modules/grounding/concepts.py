"""SAM 3: from words to masks in one step; which of them a phrase means is geometry."""

import torch
from torch import Tensor

from lightning_modules.grounding.hub import Loaded
from lightning_modules.grounding.instances import Instance, meant
from lightning_modules.grounding.regions import Region, at_size, box_around, cleaned, region_of, to_bytes, working_copy


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
        seen, size = ((picture.shape[-2], picture.shape[-1]) for picture in (small, image))
        instances = meant(phrase, lambda noun: self._instances(small, noun), seen, self._name)
        return [
            region_of(at_size(cleaned(mask), size), score, self._name)
            for _, score, mask in instances
            if mask is not None
        ]

    def _instances(self, image: Tensor, noun: str) -> list[Instance]:
        inputs = self._processor(images=to_bytes(image), text=noun, return_tensors="pt").to(self._model.device)
        with torch.no_grad():
            output = self._model(**{name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")})
        found = self._processor.post_process_instance_segmentation(
            output, threshold=self._threshold, target_sizes=[tuple(image.shape[-2:])]
        )[0]
        pairs = zip(found["masks"].float().cpu(), found["scores"].tolist(), strict=True)
        instances = [Instance(box_around(mask[None]), score, mask[None]) for mask, score in pairs if mask.any()]
        return sorted(instances, key=lambda instance: -instance.score)
