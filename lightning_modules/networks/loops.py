"""A loop that a graph keeps as one loop, whatever its length."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

State = TypeVar("State")
_SCAN: Callable[..., Any] = import_module("torch._higher_order_ops.scan").scan  # torch has no public name for it yet


def scan(step: Callable[[State, Any], tuple[State, Any]], start: State, inputs: Any) -> tuple[State, Any]:
    """Run ``state, output = step(state, input)`` over the first axis of the inputs.

    A Python loop would be written out when a graph is exported, for the one length that was seen.

    Args:
        step: Returns new tensors, of the shapes and types of its state, and no input as it came.
        start: A tensor, or a tuple of them.
        inputs: A tensor, or a tuple of them, ``(L, ...)``.

    Returns:
        The last state, and all outputs, ``(L, ...)``.

    Examples:
        >>> import torch
        >>> last, sums = scan(lambda total, x: (total + x, total + x), torch.zeros(1), torch.ones(3, 1))
        >>> last.tolist(), sums.flatten().tolist()
        ([3.0], [1.0, 2.0, 3.0])
    """
    done: tuple[State, Any] = _SCAN(step, start, inputs)
    return done
