"""What the stylistic predictor trains: a small MLP on the features of two frozen branches."""

from collections.abc import Sequence

from torch import Tensor, nn


class Head(nn.Module):
    """Merges the branches to one score: every feature brought to mean 0 and deviation 1, then a small MLP.

    A batch norm does that without weights of its own: of a transformer's features some are a hundred times as large as
    others, and the small ones are those that new painters share.

    Args:
        widths: Number of features of every branch.
        hidden: Width of the hidden layers; none makes the score linear.
        dropout: Before every layer but the first, in [0, 1).

    Source: Ruta et al. 2024 (NeAT), section 3: "a small MLP"; its sizes are ours.
    """

    def __init__(self, widths: Sequence[int], hidden: Sequence[int] = (256,), dropout: float = 0.2) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.norm = nn.BatchNorm1d(sum(widths), affine=False)
        layers: list[nn.Module] = []
        inputs = sum(widths)
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return one logit for every row of joined features, ``(B, sum of widths)`` to ``(B,)``."""
        logits: Tensor = self.layers(self.norm(features)).squeeze(1)
        return logits
