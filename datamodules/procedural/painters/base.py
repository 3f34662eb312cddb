"""What a procedural painter is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datamodules.procedural.brushes import Floats

Technique = Callable[[Floats, np.random.Generator], Floats]


@dataclass(frozen=True)
class Painter:
    """An invented artist who paints any picture in one technique and palette.

    Attributes:
        name: The artist's name, first and last.
        style: The technique as a phrase, for captions and prompts.
        technique: The function that paints.
    """

    name: str
    style: str
    technique: Technique

    def paint(self, content: Floats, rng: np.random.Generator) -> Floats:
        """Paint a picture.

        Strokes have a fixed size in pixels (3 to 14), so a larger picture has more of them.

        Args:
            content: ``(H, W, 3)`` float32 in [0, 1], each side at least 16 pixels.
            rng: The only source of chance: the same state gives the same painting.

        Returns:
            The painting, same shape and range as ``content``.

        Raises:
            ValueError: If the content is not an ``(H, W, 3)`` array with sides of at least 16 pixels.
        """
        if content.ndim != 3 or content.shape[2] != 3 or min(content.shape[:2]) < 16:
            raise ValueError(f"A painter needs an (H, W, 3) picture of at least 16 x 16 pixels, not {content.shape}.")
        painting = self.technique(np.ascontiguousarray(content, np.float32), rng)
        return np.clip(painting, 0.0, 1.0).astype(np.float32)
