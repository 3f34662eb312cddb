"""CLIPSeg: a heat map of a phrase, for what has no outline of its own: sky, grass, sea, walls."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.grounding.hub import Loaded
from lightning_modules.grounding.regions import NotFoundError, Region, at_size, box_around, to_bytes, working_copy
from lightning_modules.grounding.spatial import choose, take_apart

_NOUNS = (
    "background beach ceiling cloud clouds field fields floor foliage fog forest grass ground hill hills ice lake lawn "
    "meadow mist mountain mountains ocean pavement path pond river road sand sea shadow shore sky snow soil street "
    "sunlight trees vegetation wall walls water waves wood woods"
)
STUFF = frozenset(_NOUNS.split())
"""Nouns of which a box says little."""
LARGEST = 1024
SMALLEST = 0.01
"""Pieces that cover a smaller share of the heat are left out where one of several is chosen."""
SOFT = 0.1
"""Half the width of the ramp around the threshold."""


class CLIPSeg:
    """CLIPSeg, with the picture's own edges for the border.

    Args:
        loaded: The model.
        threshold: Heat from which a pixel belongs to the phrase.
    """

    def __init__(self, loaded: Loaded, threshold: float = 0.4) -> None:
        self._model, self._processor, self._name = loaded.model, loaded.processor, loaded.name
        self._threshold = threshold

    def ground(self, image: Tensor, phrase: str) -> list[Region]:
        """Return one region, or none: see `Grounder`; of several pieces, geometry chooses."""
        spatial = take_apart(phrase)
        noun = phrase if spatial.side is None else spatial.noun
        small, _ = working_copy(image, LARGEST)
        heat = self._heat(small, noun)
        if float(heat.max()) < self._threshold:
            raise NotFoundError(f"There is no '{noun}' in the picture, as far as {self._name} can tell.")
        score = float(heat.max())
        if spatial.side is not None:
            heat = heat * self._chosen(heat, phrase)
        mask = ((guided(heat, small) - self._threshold) / (2 * SOFT) + 0.5).clamp(0, 1)
        mask = at_size(mask, (image.shape[-2], image.shape[-1]))
        return [Region(mask, box_around(mask), score, self._name)]

    def _heat(self, image: Tensor, noun: str) -> Tensor:
        """Return the heat map at the picture's size, ``(1, h, w)`` in [0, 1]."""
        inputs = self._processor(text=[noun], images=[to_bytes(image)], return_tensors="pt", padding=True)
        with torch.no_grad():
            logits = self._model(**inputs.to(self._model.device)).logits.float().cpu()
        heat = logits.sigmoid().reshape(1, *logits.shape[-2:])
        return at_size(heat, (image.shape[-2], image.shape[-1]))

    def _chosen(self, heat: Tensor, phrase: str) -> Tensor:
        """Return 1 in the piece that a phrase with a side means, ``(1, h, w)``."""
        pieces, count = ndimage.label(heat[0].numpy() >= self._threshold)
        areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
        large = [number for number in range(1, count + 1) if areas[number - 1] >= SMALLEST * areas.sum()]
        boxes = [box_around(torch.from_numpy(pieces == number)[None].float()) for number in large]
        scores = [float(areas[number - 1]) for number in large]
        chosen = choose(boxes, scores, take_apart(phrase), (heat.shape[-2], heat.shape[-1]))
        if not chosen:
            raise NotFoundError(f"Of {len(large)} parts of the picture, none is the '{phrase}'.")
        return torch.from_numpy(np.isin(pieces, [large[number] for number in chosen]))[None].float()


def is_stuff(phrase: str) -> bool:
    """Tell whether a phrase names what has no outline of its own.

    Examples:
        >>> [is_stuff(phrase) for phrase in ("cloudy sky", "leftmost wall", "sea lion")]
        [True, True, False]
    """
    words = take_apart(phrase).noun.casefold().split()
    return bool(words) and words[-1] in STUFF


def guided(heat: Tensor, image: Tensor, radius: int | None = None, eps: float = 1e-4) -> Tensor:
    """Return a heat map ``(1, h, w)`` whose edges lie on those of a picture ``(3, h, w)``.

    ``q = mean(a) I + mean(b)``, where ``a I + b`` is the least-squares fit to the heat in every window, and I is grey.

    Args:
        heat: In [0, 1].
        image: RGB in [0, 1].
        radius: Of the windows, in pixels; by default 1/32 of the shorter side.
        eps: Smaller variances of I are taken for flat.

    Source: He, Sun and Tang, Guided Image Filtering, 2010, eq. 5, 6 and 8.
    """
    grey = image.mean(0, keepdim=True)
    reach = radius or max(1, min(image.shape[-2:]) // 32)

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x[None], 2 * reach + 1, 1, reach, count_include_pad=False)[0]

    means = mean(grey), mean(heat)
    variance = mean(grey * grey) - means[0].square()
    slope = (mean(grey * heat) - means[0] * means[1]) / (variance + eps)
    return mean(slope) * grey + mean(means[1] - slope * means[0])
