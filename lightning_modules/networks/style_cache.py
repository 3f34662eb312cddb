"""What the generator needs of the last style images, kept for the next content."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.networks.attention_generator import StyleKeys


class Known(NamedTuple):
    """Keys, and what they depend on.

    Attributes:
        seen: The style images and the weights that made keys of them.
        half: Whether they were computed in half precision.
        keys: Of the images.
    """

    seen: list[Tensor]
    half: bool
    keys: StyleKeys


class StyleCache:
    """The keys of the style images of the last call, so that a clip or a folder pays for its style once."""

    def __init__(self) -> None:
        self._known: Known | None = None

    def clear(self) -> None:
        """Forget them."""
        self._known = None

    def keys(self, style: Tensor, weights: Sequence[Tensor], compute: Callable[[Tensor], StyleKeys]) -> StyleKeys:
        """Return ``compute(style)``, from the last call where style, weights and precision are still the same.

        Args:
            style: ``(B, 3, h, w)``; where all pictures are equal only one is computed.
            weights: What ``compute`` depends on beside the style.
            compute: Returns the keys of pictures.
        """
        count, place = len(style), torch.arange(len(style), device=style.device)
        if bool((style == style[:1]).all()):  # one style for many contents
            style, place = style[:1], torch.zeros_like(place)
        known, seen = self._known, [style, *weights]
        half = torch.is_autocast_enabled(style.device.type)
        if known is None or known.half != half or not _equal(known.seen, seen):
            # Copies, compared by value: whoever owns style and weights may write into them, past every version count.
            known = self._known = Known([tensor.detach().clone() for tensor in seen], half, compute(style))
        return known.keys if len(style) == count else known.keys.take(place)


def _equal(known: Sequence[Tensor], seen: Sequence[Tensor]) -> bool:
    return len(known) == len(seen) and all(
        a.device == b.device and a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(known, seen, strict=True)
    )
