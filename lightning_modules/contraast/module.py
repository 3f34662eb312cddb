"""ContraAST: style transfer by attention, an adversary that has seen the whole museum, and contrast between results."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable

from lightning_modules.contraast.networks import Transform
from lightning_modules.internal_external.training import InternalExternal


class ContraAST(InternalExternal):
    """Artistic Style Transfer with Internal-external Learning and Contrastive Learning (NeurIPS 2021).

    Args:
        optimizer: Of generator and projection heads.
        discriminator_optimizer: Of the discriminator.
        scheduler: Learning-rate schedule of all, stepped every iteration.
        critic_optimizer: Of the texture critic, needed where ``loss.texture`` has a weight.
        **settings: See `InternalExternal`.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        discriminator_optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        critic_optimizer: OptimizerCallable | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(_transform, optimizer, discriminator_optimizer, scheduler, critic_optimizer, **settings)


def _transform(channels: Mapping[str, int]) -> Transform:
    return Transform(channels["relu4_1"])
