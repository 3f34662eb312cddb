"""Where to paint: what was drawn on the photograph, and the mask that was uploaded."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.masks import fit_mask
from lightning_modules.errors import ImpastoError

LEAST = 0.02
"""Opacity below which a stroke's soft edge is nothing."""


def region_of(layers: Sequence[NDArray[Any]], uploaded: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """Return what was drawn and uploaded, together.

    Args:
        layers: ``(h, w, 4)`` each, uint8: strokes on nothing, of any opacity, which is the brush's and means nothing.
        uploaded: ``(1, h, w)`` in [0, 1], or None.
        size: Height and width of the photograph, as it is painted.

    Returns:
        ``(1, H, W)`` in [0, 1]; None where nothing was drawn and nothing uploaded: everywhere.

    Raises:
        ImpastoError: If the uploaded mask is dark everywhere.
    """
    drawn = [layer for layer in map(_opacity, layers) if layer is not None]
    if uploaded is not None and float(uploaded.max()) < LEAST:
        raise ImpastoError("The mask is dark everywhere: it should be bright where to paint.")
    masks = [fit_mask(mask, *size) for mask in (*drawn, *([] if uploaded is None else [uploaded]))]
    return torch.stack(masks).amax(0) if masks else None


def _opacity(layer: NDArray[Any]) -> Tensor | None:
    opacity = torch.tensor(layer[..., 3])[None].float() / 255
    most = float(opacity.max())
    return None if most < LEAST else (opacity / most).clamp(0, 1)
