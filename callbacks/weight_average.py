"""WeightAverage: validations and checkpoints see a running mean of the weights, and training goes on without it."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError

KEY = "weight_average"


class WeightAverage(Callback):
    """Keep the exponential moving average of everything that is trained.

    ``a_n = d_n a_(n-1) + (1 - d_n) w_n`` with ``d_n = min(decay, n / (n + 9))`` and a_0 the first weights, once an
    iteration. What a validation measures and what a checkpoint holds as the module's state is the average; the weights
    themselves are kept beside it, so that a resumed run ends in the bits of an uninterrupted one. Buffers and other
    state of the module are not averaged: they are what they are. After a fit the module has the average.

    Lightning's own callback copies the whole module, frozen networks included, so it does not resume where those are
    left out of checkpoints; and of state that is no tensor it keeps the first value.

    Args:
        decay: In [0, 1): how much of the average an iteration leaves, once there have been enough of them.

    Raises:
        ImpastoError: If ``decay`` is outside its range.

    Source: Polyak & Juditsky 1992 for the mean; the growing decay is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ImpastoError(f"The decay of a weight average lies in [0, 1), not at {decay}.")
        self.decay = decay
        self._average: dict[str, Tensor] | None = None
        self._trained: dict[str, Tensor] | None = None  # the weights, while the module shows the average
        self._weights: dict[str, nn.Parameter] = {}
        self._updates = self._seen = 0

    def state_dict(self) -> dict[str, int]:
        """Keep how many weights have been averaged."""
        return {"updates": self._updates, "seen": self._seen}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore it."""
        self._updates, self._seen = state_dict["updates"], state_dict["seen"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Let the checkpoint's state be the average, and put the weights beside it."""
        if self._average is None:
            return
        trained = self._trained or {name: weight.detach() for name, weight in _weights(pl_module).items()}
        checkpoint[KEY] = {"trained": trained}
        checkpoint["state_dict"] |= self._average

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take both apart again to train on; a checkpoint that was made without an average starts one."""
        if trainer.state.fn != TrainerFn.FITTING or KEY not in checkpoint:
            return
        trained = checkpoint[KEY]["trained"]
        self._average = {name: checkpoint["state_dict"][name].clone() for name in trained}
        _write(trained, pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start from the weights as they are, or go on where they are now: a checkpoint is read before they move."""
        self._hide(pl_module)
        self._weights = weights = _weights(pl_module)  # looking them up takes longer than averaging them
        if self._average is None:
            self._average = {name: weight.detach().clone() for name, weight in weights.items()}
        self._average = {name: value.to(weights[name].device) for name, value in self._average.items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Begin to count where a run does that was trained without an average so far."""
        self._seen = max(self._seen, trainer.global_step)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:  # noqa: ARG002
        """Average, once an iteration."""
        step = trainer.global_step
        if step == self._seen or self._average is None:  # a step repeats while gradients accumulate
            return
        self._seen = step
        self._updates += 1
        share = 1 - min(self.decay, self._updates / (self._updates + 9))
        for name, value in self._average.items():
            value.lerp_(self._weights[name], share)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the average."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._show(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the weights back."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._hide(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Leave the average in the module; a checkpoint that is saved now still holds both."""
        self._show(pl_module)

    def _show(self, module: LightningModule) -> None:
        if self._average is not None and self._trained is None:
            self._trained = {name: weight.detach().clone() for name, weight in _weights(module).items()}
            _write(self._average, module)

    def _hide(self, module: LightningModule) -> None:
        if self._trained is not None:
            _write(self._trained, module)
            self._trained = None


def _weights(module: LightningModule) -> dict[str, nn.Parameter]:
    """Return what is trained, by the names that it has in a checkpoint.

    An adapter's weights have a second name in the frozen network that they are laid over, which no checkpoint knows.
    """
    known = module.state_dict().keys()
    named = module.named_parameters(remove_duplicate=False)
    return {name: weight for name, weight in named if weight.requires_grad and name in known}


@torch.no_grad()
def _write(values: dict[str, Tensor], module: LightningModule) -> None:
    weights = _weights(module)
    for name, value in values.items():
        weights[name].copy_(value)
