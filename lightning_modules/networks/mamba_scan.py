"""Mamba-1's selective scan with the semantics of the mamba-ssm package, on any device."""

import functools
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.losses.precision import without_autocast
from lightning_modules.networks.loops import scan
from lightning_modules.networks.recurrence import DEVICE_SLAB, LOG_DECAY_FLOOR, Plan, SlabRecurrence, solve_tree

Backend = Literal["auto", "kernel", "tree", "slab"]

_LOGGER = logging.getLogger(__name__)


@functools.cache
def find_kernel(device: torch.device) -> Callable[..., Any] | None:
    """Return mamba-ssm's fused scan if it works on ``device``, else None.

    The package is looked up on the first call only and tried on a tiny input. Whatever goes wrong (not installed, built
    for another torch or another GPU) means that it is absent.
    """
    try:
        kernel: Callable[..., Any] = import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
        probe = torch.zeros(1, 1, 8, device=device)
        kernel(probe, probe, torch.zeros(1, 1, device=device), probe, probe)
    except Exception as error:
        _LOGGER.info("mamba-ssm's scan is not used: %s: %s", type(error).__name__, error)
        return None
    return kernel


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = ...,
    z: Tensor | None = ...,
    delta_bias: Tensor | None = ...,
    delta_softplus: bool = ...,
    return_last_state: Literal[False] = ...,
    backend: Backend = ...,
) -> Tensor: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = ...,
    z: Tensor | None = ...,
    delta_bias: Tensor | None = ...,
    delta_softplus: bool = ...,
    *,
    return_last_state: Literal[True],
    backend: Backend = ...,
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    backend: Backend = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Scan ``h_t = exp(d_t A) h_{t-1} + d_t u_t B_t``, ``y_t = <C_t, h_t> + D u_t``, gated by ``silu(z)``.

    ``d`` is ``delta + delta_bias``, through a softplus if asked. Everything is computed in float32 (float64 if ``u`` is
    float64), whatever autocast says.

    Args:
        u: Signal, ``(b, D, L)``.
        delta: Step sizes, ``(b, D, L)``, non-negative after the optional softplus.
        A: Rates, ``(D, N)``, real and not positive: a positive rate grows without bound.
        B: Input maps, ``(b, N, L)``, or ``(b, G, N, L)`` where each group serves ``D / G`` successive channels.
        C: Output maps, like ``B``.
        D: Skip weights, ``(D,)``.
        z: Gate, ``(b, D, L)``.
        delta_bias: Added to ``delta``, ``(D,)``.
        delta_softplus: Whether to take the softplus of ``delta``.
        return_last_state: Whether to return ``h_L`` too; no gradient flows through it.
        backend: ``kernel`` (mamba-ssm, CUDA), ``tree`` (parallel in time), ``slab`` (step by step, cache-sized), or
            ``auto``: slab on a CPU; elsewhere the kernel if it works there, else tree.

    Returns:
        Outputs, ``(b, D, L)``, in the dtype of ``u``; with ``return_last_state`` also ``(b, D, N)``, as computed.

    Raises:
        ImpastoError: If ``backend="kernel"`` and mamba-ssm does not work on the device of ``u``.
        ValueError: If the groups of ``B`` and ``C`` do not divide the channels.

    Source: ``selective_scan_ref`` and ``selective_scan_fn`` of mamba-ssm; Gu & Dao 2023, algorithm 2.

    Examples:
        >>> u, maps = torch.ones(1, 2, 3), torch.ones(1, 1, 3)
        >>> selective_scan(u, u, torch.zeros(2, 1), maps, maps)[0, 0].tolist()
        [1.0, 2.0, 3.0]
    """
    kernel = None
    if backend in {"auto", "kernel"} and u.device.type == "cuda" and u.dtype != torch.float64:
        kernel = find_kernel(u.device)
    if backend == "kernel" and kernel is None:
        raise ImpastoError(
            "mamba-ssm's scan does not work on this device: install the extra `mamba` or use another backend."
        )
    dtype = torch.float64 if u.dtype == torch.float64 else torch.float32
    inputs: list[Any] = [
        None if tensor is None else tensor.to(dtype) for tensor in (u, delta, A, B, C, D, z, delta_bias)
    ]
    with without_autocast(u):
        if kernel is not None:
            output, last = kernel(*inputs, delta_softplus=delta_softplus, return_last_state=True)
        else:
            slabs = backend == "slab" or (backend == "auto" and u.device.type == "cpu")
            plan = Plan() if slabs else Plan(solve_tree, DEVICE_SLAB)
            output, last = _scan(*inputs, softplus=delta_softplus, plan=plan)
    return (output.to(u.dtype), last.detach()) if return_last_state else output.to(u.dtype)


def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    *,
    softplus: bool,
    plan: Plan,
) -> tuple[Tensor, Tensor]:
    groups = B.shape[1] if B.dim() == 4 else 1
    channels, states = A.shape
    if channels % groups:
        raise ValueError(f"{groups} groups of B and C do not divide {channels} channels.")
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if softplus:
        delta = F.softplus(delta)
    steps, drive = (_time_first(tensor, groups) for tensor in (delta, delta * u))
    maps = (_time_first(tensor.flatten(1, -2), groups) for tensor in (B, C))
    rates = A.view(groups, -1, states)
    if torch.compiler.is_exporting():
        output, last = _step_by_step(steps, drive, rates, *maps)
    else:
        output, last = SlabRecurrence.apply(steps, drive, rates, *maps, plan)
    output = output.flatten(2).permute(1, 2, 0)  # b, D, L
    if D is not None:
        output = output + u * D[:, None]
    if z is not None:
        output = output * F.silu(z)
    return output, last.flatten(1, 2)


def _step_by_step(steps: Tensor, drive: Tensor, rates: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Do what `SlabRecurrence` does, as a loop that a graph keeps as one: it takes any length."""

    def step(state: Tensor, now: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        length, force, into, out_of = now
        decay = (length.unsqueeze(-1) * rates).clamp(min=LOG_DECAY_FLOOR).exp()
        state = decay * state + force.unsqueeze(-1) * into.unsqueeze(-2)
        return state, (state * out_of.unsqueeze(-2)).sum(-1)

    start = steps.new_zeros(*steps.shape[1:], rates.shape[-1])
    last, output = scan(step, start, (steps, drive, B, C))
    return output, last


def _time_first(tensor: Tensor, groups: int) -> Tensor:
    batch, _, length = tensor.shape
    return tensor.permute(2, 0, 1).reshape(length, batch, groups, -1).contiguous()  # L, b, G, channels of a group
