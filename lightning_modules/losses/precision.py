"""Where half precision must not reach: variances, exponentials and differences of large sums."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return half-precision floats as float32, and anything wider as it is.

    Examples:
        >>> at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype
        torch.float32
        >>> at_least_float32(torch.ones(1, dtype=torch.float64)).dtype
        torch.float64
    """
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def expm1(exponent: Tensor) -> Tensor:
    """Return ``exp(x) - 1``; a graph that is being exported has no operation for it, and takes the difference wider."""
    return (exponent.double().exp() - 1).to(exponent) if torch.compiler.is_exporting() else torch.expm1(exponent)


def without_gradient(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Do what ``torch.no_grad()`` does around a function; a graph that is exported has no gradients to leave out."""

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **settings: Arguments.kwargs) -> Result:
        with nullcontext() if torch.compiler.is_exporting() else torch.no_grad():
            return function(*arguments, **settings)

    return call


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Return a context in which operations keep the precision of their input, on the device of ``tensor``.

    A graph that is being exported has no autocast, and would keep the context as a part of itself.
    """
    return nullcontext() if torch.compiler.is_exporting() else torch.autocast(tensor.device.type, enabled=False)
