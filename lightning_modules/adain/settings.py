"""Groups of AdaIN's settings, as they stand in YAML."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of eq. 11.

    Attributes:
        content: 1 in the paper.
        style: lambda.
    """

    content: float = 1.0
    style: float = 10.0
