"""What `impasto fit` trains: a Lightning module with one name, exact resume and a signed checkpoint."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_modules.networks.frozen import FrozenNetwork

CHECKPOINT_KEY = "impasto"
SHELF = "classifiers"
"""A package that holds experiments without being one."""


class Experiment(LightningModule):
    """Base of everything that a folder of YAML trains.

    Every iteration reseeds the random generators from (seed, iteration, rank). An iteration is therefore a function of
    the weights, the optimiser and the batch alone: validation cannot disturb training, and a resumed run continues as
    the uninterrupted one would.

    Attributes:
        recipe: The module's own YAML, class and arguments; the command line sets it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.recipe: str | None = None

    @property
    def method(self) -> str:
        """The experiment's one name: its package, its YAML folder, its make target."""
        path = type(self).__module__.removeprefix("lightning_modules.").removeprefix(f"{SHELF}.")
        return path.split(".")[0]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Reseed from (seed, iteration, rank)."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        position = self.trainer.fit_loop.epoch_loop.total_batch_idx
        torch.manual_seed(hash((seed, position, self.global_rank)) & 0x7FFFFFFFFFFFFFFF)

    def log_terms(self, terms: Mapping[str, Tensor]) -> None:
        """Log each unweighted loss term as ``train/<name>``."""
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()})

    def frozen_sources(self) -> dict[str, str]:
        """Return where each frozen network's weights came from."""
        return {name: module.source for name, module in self.named_modules() if isinstance(module, FrozenNetwork)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Sign the checkpoint with the method, its resolved settings and its frozen networks."""
        checkpoint[CHECKPOINT_KEY] = {
            "method": self.method,
            "recipe": self.recipe,
            "frozen": self.frozen_sources(),
        }
