"""Contrast between stylisations that share a style, or a content: how a batch is arranged for it, and the loss."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.losses.precision import at_least_float32, without_autocast


def arrange_pairs(half: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return which content and which style make each of the ``2 half`` stylised pictures of a batch.

    Styles ``0 .. h-1`` twice; contents ``0 .. h-1`` and then ``1 .. h-1, 0``: every picture shares its style with
    exactly one other and its content with exactly one other, never both.

    Args:
        half: h, the number of contents and of styles; b = 2 h.
        device: Where the index tensors live.

    Returns:
        Content and style numbers, ``(2 h,)`` each, int64.

    Raises:
        ImpastoError: If h is below 2: nobody would be a negative.

    Source: ContraAST section 3.2.

    Examples:
        >>> [index.tolist() for index in arrange_pairs(3)]
        [[0, 1, 2, 1, 2, 0], [0, 1, 2, 0, 1, 2]]
    """
    if half < 2:
        raise ImpastoError(f"Contents are contrasted within a batch: every process needs at least 2, not {half}.")
    numbers = torch.arange(half, device=device)
    return torch.cat([numbers, numbers.roll(-1)]), numbers.repeat(2)


class Crops(NamedTuple):
    """Crops of true pictures that take part in a contrast, as positives and negatives and never as anchors.

    Attributes:
        z: ``(M, D)``, unit vectors.
        style: ``(M,)``, the attribute that they share with stylised pictures.
    """

    z: Tensor
    style: Tensor


def shared_attribute_loss(
    z: Tensor,
    shared: Tensor,
    other: Tensor,
    *,
    crops: Crops | None = None,
    temperature: float = 0.2,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Return the contrastive loss over pictures that share one attribute.

    ``-log(exp(z_i.z_p/t) / (exp(z_i.z_p/t) + sum_n exp(z_i.z_n/t)))`` where p is the other picture with the attribute
    of anchor i and the negatives n share neither attribute with it. With ``shared`` the styles this is eq. 5, with
    ``shared`` the contents eq. 6.

    With crops of true pictures an anchor has several positives: it owes as much to each, and the mean counts. Crops
    with another attribute are negatives.

    Args:
        z: ``(N, D)``, unit vectors.
        shared: ``(N,)``, the attribute that makes two pictures positives of each other.
        other: ``(N,)``, the other attribute; who shares it with the anchor is left out.
        crops: Of the true pictures that ``shared`` numbers.
        temperature: t, above 0.
        reduction: Over anchors. The public code sums, so that its weight grows with the batch.

    Returns:
        A scalar, at least 0, in nats.

    Source: ContraAST eq. 5 and 6; NeAT section 4.1 for the crops.

    Examples:
        >>> contents, styles = arrange_pairs(2)
        >>> z = torch.nn.functional.one_hot(styles, 2).float()
        >>> round(float(shared_attribute_loss(z, styles, contents, temperature=1.0, reduction="mean")), 4)
        0.3133
    """
    with without_autocast(z):
        z = at_least_float32(z)
        pool = z if crops is None else torch.cat([z, at_least_float32(crops.z)])
        logits = z @ pool.T / temperature  # N, N + M
        same, same_other = shared[:, None] == shared, other[:, None] == other
        positive, negative = same & ~same_other, ~same & ~same_other
        if crops is not None:
            alike = shared[:, None] == crops.style
            positive, negative = torch.cat([positive, alike], 1), torch.cat([negative, ~alike], 1)
        least = torch.finfo(logits.dtype).min
        against = logits.masked_fill(~negative, least).logsumexp(1, keepdim=True)
        each = F.softplus(against - logits).masked_fill(~positive, 0)
        per_anchor = each.sum(1) / positive.sum(1)
    return per_anchor.sum() if reduction == "sum" else per_anchor.mean()
