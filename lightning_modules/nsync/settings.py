"""Groups of NSYNC's settings, as they stand in YAML."""

from dataclasses import dataclass
from typing import Literal

AdapterName = Literal["textual_inversion", "lora"]
Granularity = Literal["tensor", "module", "global"]
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class LoRASettings:
    """Where low-rank matrices stand in the UNet, where they are what is trained.

    Attributes:
        rank: r of ``W + alpha / r * B A``.
        alpha: Its numerator; 0 is the rank, a factor of 1.
        targets: Ends of the names of the linear layers that get them.
    """

    rank: int = 4
    alpha: float = 0.0
    targets: tuple[str, ...] = ATTENTION
