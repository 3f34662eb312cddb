"""The diagonal recurrence of a selective state-space model, in slabs of time, with its own backward pass."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Elements of one (T, batch, groups, channels, states) slab. On a CPU three slabs (decay, state, gradient) should
# stay in the second-level cache; on an accelerator a slab only has to fit the memory, and fewer slabs mean fewer
# launches.
CACHE_SLAB = 1 << 18
DEVICE_SLAB = 1 << 25

# exp() of anything below about -87 is denormal in float32, and a hundred times slower on a CPU. exp(-64) is 2e-28,
# nothing that float32 can add to a state of any use.
LOG_DECAY_FLOOR = -64.0

Solver = Callable[[Tensor, Tensor, bool], None]


def solve_steps(decay: Tensor, values: Tensor, reverse: bool = False) -> None:
    """Solve ``values[t] += decay[t] * values[t - 1]`` in place, one time step after the other.

    Cheapest in arithmetic and memory, and bound by launches on an accelerator.

    Args:
        decay: ``(T, ...)``, left as it is.
        values: ``(T, ...)``, overwritten by the solution.
        reverse: Solve ``values[t] += decay[t + 1] * values[t + 1]`` from the end instead.
    """
    states: Sequence[Tensor] = values.unbind(0)
    decays: Sequence[Tensor] = decay.unbind(0)
    if reverse:
        states, decays = states[::-1], (decays[0], *decays[:0:-1])
    for before, state, factor in zip(states, states[1:], decays[1:], strict=False):
        state.addcmul_(factor, before)


def solve_tree(decay: Tensor, values: Tensor, reverse: bool = False) -> None:
    """Solve the recurrence of :func:`solve_steps` in about ``2 log2 T`` strided passes, for any ``T``.

    Products of decays may underflow to zero, which is harmless; nothing is ever divided, so nothing overflows.

    Args:
        decay: ``(T, ...)``, left as it is.
        values: ``(T, ...)``, overwritten by the solution.
        reverse: Run from the end, as in :func:`solve_steps`.

    Source: Brent & Kung 1982, the work-efficient prefix network.
    """
    length = values.shape[0]
    products = decay.roll(-1, 0) if reverse else decay.clone()
    spans = [1 << level for level in range(length.bit_length() - 1)]
    for span in spans:
        source, target = _tree_slices(length // (2 * span), span, span, length, reverse=reverse)
        values[target].addcmul_(products[target], values[source])
        products[target].mul_(products[source])
    for span in reversed(spans):
        source, target = _tree_slices((length - span) // (2 * span), 2 * span, span, length, reverse=reverse)
        values[target].addcmul_(products[target], values[source])


def _tree_slices(count: int, first: int, span: int, length: int, *, reverse: bool) -> tuple[slice, slice]:
    """Slices of the ``count`` blocks that end at ``first``, ``first + 2 span``, ... and of those ``span`` later."""
    if count == 0:
        return slice(0, 0), slice(0, 0)
    step, extent = 2 * span, 2 * span * (count - 1) + 1
    source = length - first - extent + 1 if reverse else first - 1
    target = source - span if reverse else source + span
    return slice(source, source + extent, step), slice(target, target + extent, step)


class Plan(NamedTuple):
    """How to run the recurrence: how the time steps of a slab are solved, and how many elements a slab may have."""

    solve: Solver = solve_steps
    slab: int = CACHE_SLAB


class _Slabs:
    """Buffers of one slab, refilled for every slab so that they stay in the cache."""

    def __init__(self, delta: Tensor, A: Tensor, plan: Plan) -> None:
        length, *inner = (*delta.shape, A.shape[-1])
        self.steps = max(1, min(length, plan.slab // max(1, delta[0].numel() * A.shape[-1])))
        self.spans = [slice(start, min(start + self.steps, length)) for start in range(0, length, self.steps)]
        self.solve, self.A = plan.solve, A
        self._decay, self._state = (delta.new_empty(self.steps, *inner) for _ in range(2))

    def fill(self, delta: Tensor, drive: Tensor, B: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the decays and states ``(T, b, G, E, N)`` of one slab that begins in the state ``start``."""
        decay, state = self._decay[: len(delta)], self._state[: len(delta)]
        torch.mul(delta.unsqueeze(-1), self.A, out=decay).clamp_(min=LOG_DECAY_FLOOR).exp_()
        torch.mul(drive.unsqueeze(-1), B.unsqueeze(-2), out=state)
        state[0].addcmul_(decay[0], start)
        self.solve(decay, state, False)
        return decay, state


def _contract(maps: Tensor, states: Tensor, output: Tensor) -> None:
    """Sum over the states; as a row times a matrix, which is three times faster than a matrix times a column."""
    torch.matmul(maps.unsqueeze(-2), states.transpose(-1, -2), out=output.unsqueeze(-2))


class SlabRecurrence(torch.autograd.Function):
    """``h_t = exp(delta_t A) h_{t-1} + drive_t B_t`` and ``y_t = <C_t, h_t>``, time first.

    The backward pass recomputes the states slab by slab from the state that each slab began with, so the memory is
    that of one slab plus one state per slab. Twice differentiable it is not.
    """

    @staticmethod
    def forward(
        ctx: Any, delta: Tensor, drive: Tensor, A: Tensor, B: Tensor, C: Tensor, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        """Run the recurrence from a zero state.

        Args:
            ctx: Autograd's context.
            delta: Step sizes, ``(L, b, G, E)``, positive.
            drive: Inputs multiplied by their step sizes, like ``delta``.
            A: Rates, ``(G, E, N)``, negative.
            B: Input maps, ``(L, b, G, N)``.
            C: Output maps, like ``B``.
            plan: Solver and size of the slabs.

        Returns:
            Outputs, like ``delta``, and the last state, ``(b, G, E, N)``, through which no gradient flows.
        """
        slabs, output = _Slabs(delta, A, plan), torch.empty_like(delta)
        starts = [delta.new_zeros(*delta.shape[1:], A.shape[-1])]
        with torch.autocast(delta.device.type, enabled=False):
            for span in slabs.spans:
                _, state = slabs.fill(delta[span], drive[span], B[span], starts[-1])
                _contract(C[span], state, output[span])
                starts.append(state[-1].clone())
        ctx.save_for_backward(delta, drive, A, B, C, *starts[:-1])
        ctx.plan = plan
        ctx.mark_non_differentiable(starts[-1])
        return output, starts[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Run the adjoint recurrence from the last slab to the first."""
        delta, drive, A, B, C, *starts = ctx.saved_tensors
        slabs, grad = _Slabs(delta, A, ctx.plan), grad.contiguous()
        buffer = delta.new_empty(slabs.steps, *starts[0].shape)
        carry, grad_A = torch.zeros_like(starts[0]), torch.zeros_like(A)
        grads = tuple(torch.empty_like(tensor) for tensor in (delta, drive, B, C))
        with torch.autocast(delta.device.type, enabled=False):
            for span, start in zip(reversed(slabs.spans), reversed(starts), strict=True):
                decay, state = slabs.fill(delta[span], drive[span], B[span], start)
                adjoint = buffer[: len(state)]
                torch.mul(grad[span].unsqueeze(-1), C[span].unsqueeze(-2), out=adjoint)
                adjoint[-1].add_(carry)
                slabs.solve(decay, adjoint, True)
                torch.matmul(grad[span].unsqueeze(-2), state, out=grads[3][span].unsqueeze(-2))
                torch.matmul(drive[span].unsqueeze(-2), adjoint, out=grads[2][span].unsqueeze(-2))
                _contract(B[span], adjoint, grads[1][span])
                flow = decay.mul_(adjoint)  # d loss / d h_{t-1} by way of h_t
                carry = flow[0].clone()
                flow[0].mul_(start)
                flow[1:].mul_(state[:-1])  # d loss / d (delta_t A)
                torch.sum(torch.mul(flow, A, out=adjoint), -1, out=grads[0][span])
                grad_A += flow.mul_(delta[span].unsqueeze(-1)).sum((0, 1))
        return grads[0], grads[1], grad_A, grads[2], grads[3], None
