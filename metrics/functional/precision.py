"""The arithmetic that a reported number deserves, whatever the training around it uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute without gradients, in the precision of the input: no autocast, and no TF32 inside convolutions.

    cuDNN's convolutions round to 10 bits of mantissa by default, so the same picture would score differently on a GPU.

    Args:
        device: Where the computation happens.
    """
    cudnn: Any = torch.backends.cudnn
    conv = cudnn.conv
    before = conv.fp32_precision
    conv.fp32_precision = "ieee"
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        conv.fp32_precision = before


def as_float64(tensor: Tensor) -> Tensor:
    """Return the tensor in float64; from Apple's GPUs, which lack it, on the CPU."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()
