"""Mamba-2's state-space duality: a scan with one decay per head, as matrix products over chunks of time."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lightning_modules.losses.precision import without_autocast
from lightning_modules.networks.recurrence import LOG_DECAY_FLOOR


def ssd_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, chunk: int = 64
) -> Tensor:
    """Scan ``h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T``, ``y_t = h_t C_t + D x_t`` with one decay per head.

    Inside a chunk the scan is a masked matrix product; between chunks the states are carried by one more masked
    product. Everything is computed in float32 (float64 if ``x`` is float64), whatever autocast says.

    Args:
        x: Signal, ``(b, L, H, P)``.
        dt: Step sizes, ``(b, L, H)``, not negative.
        A: Rates, ``(H,)``, not positive.
        B: Input maps, ``(b, L, G, N)``; each of the ``G`` groups serves ``H / G`` successive heads.
        C: Output maps, like ``B``.
        D: Skip weights, ``(H,)`` or ``(H, P)``.
        chunk: Time steps in a chunk; any ``L`` works, the last chunk is padded.

    Returns:
        Outputs, ``(b, L, H, P)``, in the dtype of ``x``.

    Raises:
        ValueError: If the groups do not divide the heads.

    Source: Dao & Gu 2024, section 6 and listing 1. The segment sums differ: they are taken from a float64 cumulative
    sum in two float32 parts, for the difference of two float32 cumulative sums loses digits with the length.

    Examples:
        >>> x, maps = torch.ones(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
        >>> ssd_scan(x, x[..., 0], torch.zeros(1), maps, maps).flatten().tolist()
        [1.0, 2.0, 3.0]
    """
    length, heads, groups = x.shape[1], x.shape[2], B.shape[2]
    if heads % groups:
        raise ValueError(f"{groups} groups of B and C do not divide {heads} heads.")
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    chunk = chunk if torch.compiler.is_exporting() else min(chunk, length)
    with without_autocast(x):
        signal, steps = x.to(dtype), dt.to(dtype)
        drive = _fold(signal * steps.unsqueeze(-1), chunk).unflatten(3, (groups, -1))
        rates = _fold(steps * A.to(dtype), chunk).unflatten(3, (groups, -1))
        output = _chunked(drive, rates, _fold(B.to(dtype), chunk), _fold(C.to(dtype), chunk))
        output = output.flatten(3, 4).flatten(1, 2)[:, :length]  # b, L, H, P
        if D is not None:
            output = torch.addcmul(output, signal, D.to(dtype).view(heads, -1))
    return output.to(x.dtype)


def _fold(tensor: Tensor, chunk: int) -> Tensor:
    """Cut ``(b, L, ...)`` into ``(b, K, Q, ...)``; padded steps neither decay nor drive, for both are zero there."""
    # Positive on both sides of //: exporters of graphs divide negative numbers towards zero.
    pad = (tensor.shape[1] + chunk - 1) // chunk * chunk - tensor.shape[1]
    if torch.compiler.is_exporting() or pad:  # a graph takes any length, and so always pads
        tensor = F.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, pad))
    return tensor.reshape(tensor.shape[0], -1, chunk, *tensor.shape[2:])


def _chunked(drive: Tensor, rates: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Scan ``(b, K, Q, G, E, P)`` with rates ``(b, K, Q, G, E)`` and maps ``(b, K, Q, G, N)``."""
    dtype = drive.dtype
    total = _cumulative(rates, 2)
    scores = (C.transpose(2, 3) @ B.permute(0, 1, 3, 4, 2)).tril()  # b, K, G, Q, Q
    # Differences of a permuted tensor come out permuted, and every product after them would copy them.
    decays = _decays(total.movedim(2, -1).contiguous(), dtype)  # b, K, G, E, Q, Q
    learning = decays.requires_grad or scores.requires_grad
    mixing = scores.unsqueeze(3) * decays if learning else decays.mul_(scores.unsqueeze(3))
    inner: Tensor = (mixing @ drive.movedim(2, 4)).movedim(4, 2)
    if not torch.compiler.is_exporting() and drive.shape[1] == 1:
        return inner
    ends = total[:, :, -1:]
    remaining = drive * (ends - total).to(dtype).clamp(min=LOG_DECAY_FLOOR).exp().unsqueeze(-1)
    states = B.permute(0, 1, 3, 4, 2) @ remaining.transpose(2, 3).flatten(-2)  # b, K, G, N, E * P
    carry = _carry_any if torch.compiler.is_exporting() else _carry
    before = carry(states.unflatten(-1, drive.shape[-2:]), ends.squeeze(2))
    outer: Tensor = (C.transpose(2, 3) @ before.flatten(-2)).unflatten(-1, drive.shape[-2:]).transpose(2, 3)
    return torch.addcmul(inner, outer, total.to(dtype).clamp(min=LOG_DECAY_FLOOR).exp().unsqueeze(-1))


def _carry(states: Tensor, ends: Tensor) -> Tensor:
    """Turn what every chunk adds, ``(b, K, G, N, E, P)``, into the state at its start, by one product over chunks."""
    decays = _decays(_cumulative(ends[:, :-1], 1).movedim(1, -1), states.dtype).tril()  # b, G, E, K - 1, K - 1
    added = states[:, :-1].permute(0, 2, 4, 1, 3, 5)  # b, G, E, K - 1, N, P
    carried = (decays @ added.flatten(-2)).reshape(added.shape)
    return F.pad(carried.permute(0, 3, 1, 4, 2, 5), (0, 0) * 4 + (1, 0))


def _carry_any(states: Tensor, ends: Tensor) -> Tensor:
    """Do what `_carry` does, for any number of chunks, one too: what a graph of any size needs."""
    total = _cumulative(ends, 1).movedim(1, -1)
    started = total - ends.movedim(1, -1)  # b, G, E, K: up to the start of every chunk
    sums = (started.unsqueeze(-1) - total.unsqueeze(-2)).to(states.dtype)
    decays = sums.clamp(LOG_DECAY_FLOOR, 0.0).exp().tril(-1)
    added = states.permute(0, 2, 4, 1, 3, 5)  # b, G, E, K, N, P
    carried: Tensor = (decays @ added.flatten(-2)).unflatten(-1, added.shape[-2:])
    return carried.permute(0, 3, 1, 4, 2, 5)


def _cumulative(rates: Tensor, dim: int) -> Tensor:
    return rates.cumsum(dim, dtype=None if rates.device.type == "mps" else torch.float64)  # MPS has no float64


def _decays(total: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the decay ``exp(total_i - total_j)`` from step j to step i, ``(..., Q, Q)``; finite above the diagonal."""
    if torch.compiler.is_exporting():
        return (total.unsqueeze(-1) - total.unsqueeze(-2)).to(dtype).clamp(LOG_DECAY_FLOOR, 0.0).exp()
    decays: Tensor = _Decays.apply(total, dtype)
    return decays


class _Decays(torch.autograd.Function):
    """`_decays`, with a gradient."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, dtype: torch.dtype) -> Tensor:
        high = total.to(dtype)
        sums = high.unsqueeze(-1) - high.unsqueeze(-2)
        if total.dtype != dtype:
            low = (total - high).to(dtype)
            sums.add_(low.unsqueeze(-1)).sub_(low.unsqueeze(-2))
        # Above the diagonal the sums are positive and would overflow. One clamp disposes of them and of the denormals,
        # much faster than a mask of -inf.
        decays = sums.clamp_(LOG_DECAY_FLOOR, 0).exp_()
        ctx.save_for_backward(decays)
        ctx.exact = total.dtype
        return decays

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Rows less columns; in float32 the terms that stand in both, the largest of all, would cancel badly."""
        (decays,) = ctx.saved_tensors
        flow = (grad * decays).to(ctx.exact)
        return flow.sum(-1) - flow.sum(-2), None
