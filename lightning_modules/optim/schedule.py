"""Learning-rate schedules, counted in iterations."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau


class WarmupCosine(LambdaLR):
    """Linear warm-up to the optimiser's own rate, then half a cosine down to a floor, then the floor.

    Args:
        optimizer: The optimiser, with its peak learning rate.
        warmup: Iterations of warm-up.
        total: Iterations until the floor is reached, warm-up included.
        floor: Last learning rate, as a share of the peak, in [0, 1].
    """

    def __init__(self, optimizer: Optimizer, warmup: int, total: int, floor: float = 0.0) -> None:
        def factor(iteration: int) -> float:
            if iteration < warmup:
                return (iteration + 1) / warmup
            progress = min(1.0, (iteration - warmup) / max(1, total - warmup))
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

        super().__init__(optimizer, factor)


class InverseTime(LambdaLR):
    """The optimiser's own rate divided by ``1 + decay * iteration``.

    Args:
        optimizer: The optimiser, with its first learning rate.
        decay: Per iteration.
    """

    def __init__(self, optimizer: Optimizer, decay: float) -> None:
        super().__init__(optimizer, lambda iteration: 1 / (1 + decay * iteration))


def scheduled(
    optimizers: Sequence[Optimizer], make: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None
) -> list[Any]:
    """Return what Lightning's ``configure_optimizers`` wants: every optimiser with a schedule of its own.

    Args:
        optimizers: Any number of them.
        make: Returns the schedule of an optimiser; None where learning rates stay.
    """
    return [each if make is None else {"optimizer": each, "lr_scheduler": make(each)} for each in optimizers]
