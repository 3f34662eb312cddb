"""Agreement: before its first iteration, a training on several ranks makes sure that they have the same before them."""

import hashlib
import os
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from callbacks.together import stop_every_rank

WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Agreement(Callback):
    """Stop all ranks where one has begun with something else than the first.

    Nodes that share no disk may hold other pictures, other weights or another checkpoint. Nothing would complain:
    labels would mean other artists on other ranks, and the weights would stay apart for ever.

    Args:
        settings: The resolved configuration.
    """

    def __init__(self, settings: str) -> None:
        self.settings = settings

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, with everything loaded and a checkpoint restored.

        Raises:
            ImpastoError: If ranks differ; on the others, which have nothing to add, the process ends.
        """
        if trainer.world_size == 1:
            return
        ranks: list[dict[str, str]] = [{} for _ in range(trainer.world_size)]
        torch.distributed.all_gather_object(ranks, self._facts(trainer, pl_module))
        found = {number: _unlike(ranks[0], facts) for number, facts in enumerate(ranks)}
        different = {number: names for number, names in found.items() if names}
        if different:
            stop_every_rank(trainer, _sentence(different))

    def _facts(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, str]:
        data = getattr(trainer, "datamodule", None)
        facts = {
            "settings": self.settings,
            "seed": os.environ.get("PL_GLOBAL_SEED"),
            "artists": getattr(data, "artists", None),
            "paintings of each artist": getattr(data, "paintings_per_artist", None),
            "number of batches": trainer.num_training_batches,
            "iteration": trainer.global_step,
            "weights": checksums(pl_module.state_dict()),
        }
        return {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in facts.items()}


def checksums(state: dict[str, Any]) -> list[int]:
    """Return a sum over the bits of every tensor, the same on every device and in whatever order it is summed."""
    tensors = [value.detach() for value in state.values() if isinstance(value, Tensor) and value.numel()]
    if not tensors:
        return []
    sums = [_bits(tensor).sum(dtype=torch.int64) for tensor in tensors]
    found: list[int] = torch.stack([each.to(sums[0].device) for each in sums]).tolist()
    return found


def _bits(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(WORDS[tensor.element_size()])


def _unlike(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [name for name, value in one.items() if other[name] != value]


def _sentence(different: dict[int, list[str]]) -> str:
    names = list(dict.fromkeys(name for found in different.values() for name in found))
    ranks = ", ".join(map(str, different))
    return (
        f"Rank {ranks} began with other {' and '.join(names)} than rank 0: give every node the same files, arguments "
        "and version of Impasto."
    )
