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


def has_float64(device: torch.device) -> bool:
    """Return whether the device computes in float64; Apple's GPUs do not."""
    return device.type != "mps"


def as_float64(tensor: Tensor) -> Tensor:
    """Return the tensor in float64, on the CPU where its own device lacks that."""
    return (tensor if has_float64(tensor.device) else tensor.cpu()).double()
