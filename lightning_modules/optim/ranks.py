"""Gradients that are the mean over all ranks, by one reduction whenever the caller wants it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributed as dist


def average_over_ranks(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
    """Average gradients over the ranks in one all-reduce; without several processes, return them as they are.

    A parameter that some ranks left out counts as zero there; one that every rank left out stays None, so that no
    optimiser moves it by its momentum alone.

    Args:
        gradients: Of every parameter, or None.
        like: The parameters, in the same order on every rank, all on one device.

    Returns:
        The means, shaped as ``like``.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1 and like):
        return list(gradients)
    present = torch.tensor([gradient is not None for gradient in gradients], device=like[0].device, dtype=torch.float32)
    rows = [
        torch.zeros_like(parameter) if gradient is None else gradient
        for gradient, parameter in zip(gradients, like, strict=True)
    ]
    joined = torch.cat([present, *(row.detach().flatten() for row in rows)])
    dist.all_reduce(joined)
    anyone, *sums = joined.split([len(rows), *(row.numel() for row in rows)])
    # Only a rank that left something out has to wait for the others' answer.
    complete = all(gradient is not None for gradient in gradients)
    used = [True] * len(rows) if complete else anyone.bool().tolist()
    means = [part.div_(dist.get_world_size()).to(p.dtype).view_as(p) for part, p in zip(sums, like, strict=True)]
    return [mean if somewhere else None for mean, somewhere in zip(means, used, strict=True)]
