"""Groups of the settings of Gatys et al., as they stand in YAML."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of eq. 7; both terms are shares of the target's own energy, whatever the network's scale.

    Attributes:
        content: alpha.
        style: beta; the strength multiplies it.
    """

    content: float = 1.0
    style: float = 100.0
