"""What `impasto fit` trains: a Lightning module with one name, exact resume and a signed checkpoint."""

import os
import random
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
import yaml
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.manual import ManualOptimization
from lightning_modules.networks.frozen import FILE, FrozenNetwork, same_source

CHECKPOINT_KEY = "impasto"
SHELF = "classifiers"
"""A package that holds experiments without being one."""


class Experiment(ManualOptimization):
    """Base of everything that a folder of YAML trains or runs.

    Every iteration reseeds the random generators from (seed, iteration, rank). An iteration is therefore a function of
    the weights, the optimiser and the batch alone: validation cannot disturb training, and a resumed run continues as
    the uninterrupted one would.

    Frozen networks (`FrozenNetwork`) stay out of checkpoints; everything else must be in them.

    Args:
        clip: See `ManualOptimization`.
        accumulate: See `ManualOptimization`.

    Attributes:
        trains: Whether it learns from a training set; a method that does not is used without a checkpoint.
        learns_by_heart: Whether it could learn one batch until hardly any loss is left; not where a few numbers steer a
            frozen network.
        recipe: The module's own YAML, class and arguments; the command line sets it.
        settled: Arguments that left a choice, such as ``weights: auto``, with what the constructor chose; recipe and
            ``config.yaml`` state that, so that they mean the same on every machine.
    """

    trains: ClassVar[bool] = True
    learns_by_heart: ClassVar[bool] = True

    def __init__(self, *, clip: float | None = None, accumulate: int = 1) -> None:
        super().__init__(clip=clip, accumulate=accumulate)
        self.recipe: str | None = None
        self.settled: dict[str, Any] = {}

    @property
    def method(self) -> str:
        """The experiment's one name: its package, its YAML folder, its make target."""
        path = type(self).__module__.removeprefix("lightning_modules.").removeprefix(f"{SHELF}.")
        return path.split(".")[0]

    def setup(self, stage: str) -> None:
        """Load what only a fit needs."""
        super().setup(stage)
        if stage == TrainerFn.FITTING:
            self.load_loss_networks()

    def load_loss_networks(self) -> None:
        """Load the frozen networks that only losses look through, where they are not here yet.

        A fit calls it before it restores a checkpoint; painting and validation do without. Whoever computes losses
        without a Trainer calls it first.
        """

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Reseed from (seed, iteration, rank)."""
        super().on_train_batch_start(batch, batch_idx)
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        position = self.trainer.fit_loop.epoch_loop.total_batch_idx
        number = hash((seed, position, self.global_rank)) & 0x7FFFFFFFFFFFFFFF
        torch.manual_seed(number)
        np.random.seed(number % 2**32)  # noqa: NPY002 - the global generator, which libraries draw from
        random.seed(number)

    def log_terms(self, terms: Mapping[str, Tensor]) -> None:
        """Log each unweighted loss term as ``train/<name>``; of an effective batch, the mean over its parts."""
        self.log_dict({f"train/{name}": self.contrasts.mean(name, value.detach()) for name, value in terms.items()})

    # ------------------------------------------------------------------ checkpoints

    def frozen_sources(self) -> dict[str, str]:
        """Return where each frozen network's weights came from, down to the file where that may change."""
        return {name: module.signature for name, module in self.named_modules() if isinstance(module, FrozenNetwork)}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return everything that is trained; frozen networks come from `lightning_modules.weights` again."""
        state = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", "")
        frozen = tuple(prefix + name for name in self._frozen_prefixes())
        for key in [key for key in state if key.startswith(frozen)] if frozen else []:
            del state[key]
        return cast(dict[str, Any], state)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` returned.

        Raises:
            ImpastoError: If ``strict`` and a trained tensor is missing, unexpected or of another shape.
        """
        try:
            result = super().load_state_dict(state_dict, strict=False, assign=assign)
        except RuntimeError as error:
            shapes = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
            raise ImpastoError(
                f"The weights do not fit this {type(self).__name__}; was it configured differently? "
                f"{len(shapes)} tensors differ in shape, first: {shapes[0] if shapes else error}"
            ) from error
        frozen = self._frozen_prefixes()
        missing = [key for key in result.missing_keys if not key.startswith(frozen or ("\0",))]
        if strict and (missing or result.unexpected_keys):
            raise ImpastoError(
                f"The weights do not fit this {type(self).__name__}: {len(missing)} tensors are missing and "
                f"{len(result.unexpected_keys)} unexpected, first: {(missing + result.unexpected_keys)[0]}."
            )
        return result

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Sign the checkpoint with the method, its resolved settings and its frozen networks."""
        checkpoint[CHECKPOINT_KEY] = {
            "method": self.method,
            "recipe": self.recipe,
            "frozen": self.frozen_sources(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another method's checkpoint.

        Raises:
            ImpastoError: If the checkpoint is not signed by this method or was trained on other frozen networks.
        """
        signature = signature_of(checkpoint, "The checkpoint")
        if signature["method"] != self.method:
            raise ImpastoError(f"The checkpoint was written by {signature['method']}, not by {self.method}.")
        check_sources(signature, self.frozen_sources(), fit=self._fits())

    def _fits(self) -> bool:
        return self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING

    def _frozen_prefixes(self) -> tuple[str, ...]:
        return tuple(f"{name}." for name, module in self.named_modules() if isinstance(module, FrozenNetwork))


def signature_of(checkpoint: Any, name: str) -> dict[str, Any]:
    """Return what `Experiment.on_save_checkpoint` wrote.

    Args:
        checkpoint: What a file holds.
        name: What the message calls it.

    Raises:
        ImpastoError: If nothing of ours is in it.
    """
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise ImpastoError(f"{name} was not written by Impasto.")
    return cast(dict[str, Any], checkpoint[CHECKPOINT_KEY])


def check_sources(signature: Mapping[str, Any], present: Mapping[str, str], *, fit: bool) -> None:
    """Compare where frozen networks came from, in training and now.

    Args:
        signature: As of `signature_of`.
        present: As of `Experiment.frozen_sources`.
        fit: Whether training goes on, for which every network must be here; to paint, those that are here count.

    Raises:
        ImpastoError: If one came from elsewhere, or is missing.
    """
    for name, then in signature["frozen"].items():
        now = present.get(name, "none")
        if (fit or name in present) and not same_source(then, now):
            raise ImpastoError(f"The checkpoint was trained with {_difference(name, then, now, signature)}")


def _difference(name: str, then: str, now: str, signature: Mapping[str, Any]) -> str:
    (source, _, _), (present, _, _) = then.partition(FILE), now.partition(FILE)
    if source == present:
        return (
            f"another file of {name} weights than the '{source}' one that is here now: restore the file of that time, "
            "or train again (painters that ship: `make embedded-weights ARGS=painters`)."
        )
    recipe = yaml.safe_load(signature["recipe"] or "{}")
    weights = recipe.get("init_args", {}).get("weights", "that source")
    return (
        f"{name} weights from '{source}', but {present} was loaded; set the model's `weights` to {weights}, and its "
        "losses as in training."
    )
