"""Where half precision must not reach: variances, exponentials and differences of large sums."""

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


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context in which operations keep the precision of their input, on the device of ``tensor``."""
    return torch.autocast(tensor.device.type, enabled=False)
