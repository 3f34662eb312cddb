"""Gradients of several losses, kept apart until a method combines them."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from lightning_modules.optim.ranks import average_over_ranks

Combine = Callable[[Mapping[str, list[Tensor]]], Sequence[Tensor]]
"""From role to the gradients of the same parameters, to the gradient that each of these parameters gets."""


class RoleGradients:
    """Sums of gradients over the micro-batches of one window, one sum for each role.

    A combination that is not linear, such as a projection, must see what one process with the joined batch would see:
    so the sums are averaged over ranks first, and combined once.

    Args:
        parameters: What the gradients are of.
        roles: Names of the losses, the same on every rank.
        backward: Adds the gradient of a loss to the ``.grad`` of its parameters.
        window: Micro-batches that share one step: every gradient counts by one over this.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], roles: Sequence[str], backward: Callable[..., None], window: int
    ) -> None:
        self._parameters = list(parameters)
        self._backward = backward
        self._window = window
        self._sums: dict[str, list[Tensor | None]] = {role: [None] * len(self._parameters) for role in roles}

    def backward(self, role: str, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Add the gradients of one role's loss.

        Args:
            role: One of ``roles``.
            loss: A scalar; a role may have several.
            retain_graph: Whether another loss still needs the same graph.
        """
        for parameter in self._parameters:
            parameter.grad = None
        self._backward(loss, retain_graph=retain_graph)
        self.add(role, [parameter.grad for parameter in self._parameters])
        for parameter in self._parameters:
            parameter.grad = None

    def add(self, role: str, gradients: Sequence[Tensor | None]) -> None:
        """Add gradients that were computed otherwise, such as all roles' by one backward pass with hooks.

        Args:
            role: One of ``roles``.
            gradients: Of every parameter, in the optimiser's order; None where the loss does not reach it.
        """
        sums = self._sums[role]
        for number, gradient in enumerate(gradients):
            if gradient is not None:
                share = gradient.detach() / self._window
                held = sums[number]
                sums[number] = share if held is None else held + share

    def write(self, combine: Combine) -> None:
        """Average over ranks, combine, and leave the result in the parameters' ``.grad``.

        Parameters that no role of any rank reached keep None; where only some roles reached one, the others are zero.
        """
        roles = list(self._sums)
        flat = [gradient for role in roles for gradient in self._sums[role]]
        averaged = average_over_ranks(flat, self._parameters * len(roles))
        count = len(self._parameters)
        rows = [averaged[start : start + count] for start in range(0, len(averaged), count)]
        reached = [number for number in range(count) if any(row[number] is not None for row in rows)]
        parameters = [self._parameters[number] for number in reached]
        known = {
            role: [_or_zeros(row[number], self._parameters[number]) for number in reached]
            for role, row in zip(roles, rows, strict=True)
        }
        for parameter, gradient in zip(parameters, combine(known), strict=True):
            parameter.grad = gradient.to(parameter)


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    return like.new_zeros(like.shape) if gradient is None else gradient
