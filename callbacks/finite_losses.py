"""FiniteLosses: a run whose loss is lost stops, and keeps its last good checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from callbacks.together import stop_every_rank

TOTAL = "total"


class Watched(NamedTuple):
    """One iteration: for every term whether it was finite, and whether all were, on all ranks; on their way here."""

    iteration: int
    names: list[str]
    finite: Tensor
    arrived: torch.cuda.Event | None


class FiniteLosses(Callback):
    """Stop all ranks together where a term ``train/...`` is NaN or infinite, and never save what came of it.

    Nothing waits for the device: what an iteration's terms were is looked at after the next one, when it has long
    arrived. Only a checkpoint asks at once, whether what it is about to hold is finite.
    """

    def __init__(self) -> None:
        self._pending: Watched | None = None
        self._last: Path | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Ask where the run lives; every rank must."""
        folder = trainer.log_dir
        self._last = None if folder is None else Path(folder) / "checkpoints" / "last.ckpt"

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:  # noqa: ARG002
        """Look at the iteration before, and send for this one.

        Raises:
            ImpastoError: If a term of the iteration before is not finite on any rank.
        """
        self._settle(trainer)
        terms = {key: value for key, value in trainer.callback_metrics.items() if key.startswith("train/")}
        if terms:
            self._pending = _watched(terms, trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Look at the last iteration."""
        self._settle(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Look before anything is written.

        Here nobody waits for other ranks: what is about to be saved is the same on all.

        Raises:
            ImpastoError: If a tensor is not finite.
        """
        state = checkpoint["state_dict"].items()
        floats = {name: value for name, value in state if isinstance(value, Tensor) and value.is_floating_point()}
        if not floats or bool(torch.stack([value.isfinite().all() for value in floats.values()]).all()):
            return
        lost = [] if self._pending is None else _lost(self._pending)
        name = next(name for name, value in floats.items() if not value.isfinite().all())
        self._stop(trainer, f"The loss term {lost[0]} is" if lost else f"The weights {name} are", trainer.global_step)

    def _settle(self, trainer: Trainer) -> None:
        watched, self._pending = self._pending, None
        if watched is None or _arrived(watched)[-1]:
            return
        everywhere = [_lost(watched)]
        if trainer.world_size > 1:
            everywhere = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(everywhere, _lost(watched))
        name = next(names[0] for names in everywhere if names)
        self._stop(trainer, f"The loss term {name} is", watched.iteration)

    def _stop(self, trainer: Trainer, what: str, iteration: int) -> None:
        kept = "there is no checkpoint yet"
        if self._last is not None and self._last.is_file():
            kept = f"{self._last} is the last good state"
        stop_every_rank(
            trainer,
            f"{what} not finite in iteration {iteration}: training has stopped, and {kept}. Go on with a lower "
            "learning rate, with --model.clip, or in 32-true.",
        )


def _watched(terms: Mapping[str, Tensor], trainer: Trainer) -> Watched:
    finite = torch.stack([value.detach().isfinite().all() for value in terms.values()])
    together = finite.all()[None].to(torch.int32)
    if trainer.world_size > 1:
        torch.distributed.all_reduce(together, torch.distributed.ReduceOp.MIN)
    sent = torch.cat([finite, together.bool()]).to("cpu", non_blocking=True)
    arrived = torch.cuda.Event() if together.is_cuda else None
    if arrived is not None:
        arrived.record()
    return Watched(trainer.global_step, [key.removeprefix("train/") for key in terms], sent, arrived)


def _arrived(watched: Watched) -> list[bool]:
    if watched.arrived is not None:
        watched.arrived.synchronize()
    finite: list[bool] = watched.finite.tolist()
    return finite


def _lost(watched: Watched) -> list[str]:
    """Return the terms that are not finite on this rank, the total last: it says least."""
    *terms, _ = _arrived(watched)
    return sorted((name for name, finite in zip(watched.names, terms, strict=True) if not finite), key=TOTAL.__eq__)
