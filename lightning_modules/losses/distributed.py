"""Gathering tensors across ranks so that gradients find their way back."""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _lengths(length: int, device: torch.device, equal: bool) -> list[int]:
    if equal:
        return [length] * dist.get_world_size()
    mine = torch.tensor([length], device=device)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    return torch.cat(every).tolist()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, equal: bool) -> Tensor:
        lengths = _lengths(len(tensor), tensor.device, equal)
        ctx.start, ctx.length = sum(lengths[: dist.get_rank()]), len(tensor)
        # all_gather wants equal shapes: pad to the longest and cut again.
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        # Every rank's loss depends on this rank's rows: their gradients add up.
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.length], None


def gather_with_gradient(tensor: Tensor, *, equal: bool = True) -> Tensor:
    """Return the rows of all ranks, in the order of the ranks; the tensor itself without several processes.

    The backward pass sums over ranks, so if every rank's loss is a mean over its own share, DDP's average of the
    parameter gradients is the gradient of the mean loss, as in one process with the joined batch. Every rank must
    call it, forwards and backwards.

    Args:
        tensor: ``(N, ...)``; the shape but for N is the same on all ranks.
        equal: Whether N is the same on all ranks too, as it is for the batches of `datamodules`. If it is not, the
            ranks exchange their lengths first, and an accelerator waits until the host has read them.

    Returns:
        ``(sum of N, ...)``.
    """
    if not _distributed():
        return tensor
    gathered: Tensor = _Gather.apply(tensor, equal)
    return gathered


def rank_offset(length: int, device: torch.device | str = "cpu", *, equal: bool = True) -> int:
    """Return the row at which this rank's ``length`` rows start in the gathered tensor.

    Args:
        length: Rows of this rank.
        device: Where the communication happens, if there is any: the device of the gathered tensor.
        equal: See `gather_with_gradient`.
    """
    if not _distributed():
        return 0
    return sum(_lengths(length, torch.device(device), equal)[: dist.get_rank()])
