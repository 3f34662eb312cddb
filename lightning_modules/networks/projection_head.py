"""From a feature map to a unit vector that is contrasted with others."""

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.losses.precision import at_least_float32, without_autocast


class ProjectionHead(nn.Module):
    """From a feature map to a unit vector for contrast: sum over space, two-layer MLP, L2 norm.

    Args:
        inputs: Channels of the map.
        hidden: Units of the first layer.
        outputs: Length of the vector.

    Source: ContraAST section 3.2; public code, ``proj_style`` and ``proj_content``, for the sum over positions.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int = 128) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs)``."""
        with without_autocast(features):  # sums over thousands of positions leave the range of half precision
            return F.normalize(self.mlp(at_least_float32(features).sum((2, 3))), dim=1)
