"""What a convolution sees beyond the borders of a picture."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Padding = Literal["zeros", "reflect"]


def reflected(maps: Tensor, by: int) -> Tensor:
    """Continue maps ``(B, C, H, W)`` by ``by`` rows and columns on every side."""
    mode = "reflect" if min(maps.shape[-2:]) > by else "replicate"  # one pixel has nothing to reflect
    return F.pad(maps, (by, by, by, by), mode=mode)
