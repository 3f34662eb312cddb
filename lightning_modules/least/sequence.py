"""Several regions of one picture, one after the other (eq. 7)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_modules.base import StyleTransferModule


def paint_regions(
    model: StyleTransferModule,
    content: Tensor,
    regions: Sequence[tuple[Tensor, str]],
    *,
    chained: bool = False,
    **how: Any,
) -> Tensor:
    """Paint several regions, each in its own style; where they overlap, the later one wins.

    ``I_cs = f(... f(f(I_c, M_1), M_2) ..., M_N)``

    Args:
        model: A method that takes text and region.
        content: ``(1, 3, H, W)``, RGB in [0, 1].
        regions: The mask ``(1, 1, H, W)`` in [0, 1] and the style of each.
        chained: Whether each region is fitted to what the ones before have left, in eight bits, as the public code's
            author does by hand; by default each sees the content, and only the results are laid on each other.
        **how: What `StyleTransferModule.stylize` takes beside.

    Returns:
        ``(1, 3, H, W)``, RGB in [0, 1]; outside of all masks the content, bit for bit.

    Raises:
        ImpastoError: As of `StyleTransferModule.stylize`.

    Source: LEAST, eq. 7 and fig. 6.
    """
    result = content
    for mask, style in regions:
        region = mask.to(content).expand(len(content), -1, -1, -1)
        if chained:
            painted = model.stylize(_in_eight_bits(result), prompt=style, mask=mask, **how)
            result = torch.where(region > 0, painted, result)
        else:
            # A soft border mixes the painting with what lies below, which may be another region's painting.
            change = model.stylize(content, prompt=style, mask=mask, **how) - content
            result = torch.where(region > 0, (torch.lerp(result, content, region) + change).clamp(0, 1), result)
    return result


def overlaps(masks: Mapping[str, Tensor]) -> dict[tuple[str, str], float]:
    """Return what share of the smaller region each pair has in common, for pairs that overlap."""
    names = list(masks)
    shares = {}
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            a, b = (masks[name] > 0.5 for name in (one, other))
            common = float((a & b).sum()) / max(1.0, float(min(a.sum(), b.sum())))
            if common:
                shares[one, other] = common
    return shares


def _in_eight_bits(images: Tensor) -> Tensor:
    return (images * 255).round() / 255
