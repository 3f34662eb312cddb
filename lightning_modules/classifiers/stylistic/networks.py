"""What the stylistic predictor trains: a small MLP on the features of two frozen branches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Merges the branches to one score: the features of each, normalised, joined, then a small MLP.

    Args:
        widths: Number of features of every branch.
        hidden: Width of the hidden layers; none makes the score linear.
        dropout: Before every layer but the first, in [0, 1).

    Source: Ruta et al. 2024 (NeAT), section 3: "a small MLP"; its sizes are ours.
    """

    def __init__(self, widths: Sequence[int], hidden: Sequence[int] = (256,), dropout: float = 0.2) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for width in widths)
        layers: list[nn.Module] = []
        inputs = sum(widths)
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return one logit for every row of joined features, ``(B, sum of widths)`` to ``(B,)``."""
        parts = features.split(self.widths, dim=1)
        joined = torch.cat([norm(part) for norm, part in zip(self.norms, parts, strict=True)], dim=1)
        logits: Tensor = self.layers(joined).squeeze(1)
        return logits
