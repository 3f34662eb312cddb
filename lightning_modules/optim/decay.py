"""Which parameters weight decay shrinks."""

from collections.abc import Iterable
from typing import Any

from torch import nn


def decay_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], spared: str | tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """Return two groups for an optimiser: what decays, and biases, norms and other spared parameters, which do not.

    Args:
        parameters: Names and parameters.
        spared: Ends of names of matrices that must not decay, such as the rates of a scan.
    """
    kept: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in parameters:
        (kept if parameter.ndim < 2 or name.endswith(spared) else decayed).append(parameter)
    return [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]
