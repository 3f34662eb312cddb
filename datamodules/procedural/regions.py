"""Which pixels of a scene show what: recorded while it is drawn, so that what comes later covers what came before."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from datamodules.procedural.brushes import Floats, blur

Labels = npt.NDArray[np.uint8]
Window = tuple[slice, slice]
EVERYWHERE: Window = (slice(None), slice(None))
# Things that are seen as one, by the parts that a scene draws of them.
WHOLES: dict[str, tuple[str, ...]] = {"person": ("face", "neck", "hair", "coat"), "meadow": ("grass", "flowers")}


class Regions(NamedTuple):
    """What a picture shows where.

    Attributes:
        labels: ``(H, W)``, the part that every pixel shows most of, from 1; 0 where that is nothing with a name.
        names: A region's name, such as ``"sea"``, to the labels of its parts; every one has a pixel.
    """

    labels: Labels
    names: dict[str, tuple[int, ...]]

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Return ``(H, W)``, true where the region is."""
        return np.isin(self.labels, self.names[name])


class Parts:
    """How much of every pixel each part of a scene takes.

    Args:
        size: Height and width in pixels.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._weights: dict[str, Floats] = {}

    def cover(self, name: str, weight: Floats | float, window: Window = EVERYWHERE) -> None:
        """Lay a part over all that is there, as `datamodules.procedural.brushes.mix` lays its colour.

        Args:
            name: A noun; parts of one name are one part.
            weight: How much of each pixel it covers, in [0, 1].
            window: Rows and columns that ``weight`` stands for.
        """
        if name not in self._weights:
            self._weights[name] = np.zeros((self._size, self._size), np.float32)
        for share in self._weights.values():
            share[window] *= 1 - weight
        self._weights[name][window] += weight

    def regions(self, lens: float, *, mirrored: bool) -> Regions:
        """Return what the camera sees of it.

        Args:
            lens: Sigma of the lens blur, in pixels.
            mirrored: Whether the picture is shown with left and right exchanged.
        """
        shares = np.stack([blur(share, lens) for share in self._weights.values()])
        unnamed = 1 - shares.sum(0, keepdims=True)
        labels: npt.NDArray[Any] = np.concatenate([unnamed, shares]).argmax(0).astype(np.uint8)
        numbers = {name: number for number, name in enumerate(self._weights, 1)}
        present = set(np.unique(labels).tolist())
        seen = {name: number for name, number in numbers.items() if number in present}
        names: dict[str, tuple[int, ...]] = {name: (number,) for name, number in seen.items()}
        for whole, parts in WHOLES.items():
            found = tuple(seen[part] for part in parts if part in seen)
            names |= {whole: found} if found else {}
        return Regions(np.ascontiguousarray(labels[:, ::-1] if mirrored else labels), names)
