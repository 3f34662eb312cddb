"""Where half precision must not reach: variances, exponentials and differences of large sums."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


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


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Return a context in which operations keep the precision of their input, on the device of ``tensor``.

    A graph that is being exported has no autocast, and would keep the context as a part of itself.
    """
    return nullcontext() if torch.compiler.is_exporting() else torch.autocast(tensor.device.type, enabled=False)
