"""How far jobs are: when one has nothing left to gain, and what became of those that are done."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

MEMORY = 0.9
LEAST_GAIN = 1e-3
UNSEEN = torch.finfo(torch.float32).max  # no loss yet; finite, as all that a checkpoint holds


class Plateau(nn.Module):
    """Notices jobs whose total loss falls no more; its state is part of a checkpoint.

    A job stands still when the running mean of its loss has not fallen by a thousandth for ``patience`` iterations.

    Args:
        jobs: N.
    """

    mean: Tensor
    best: Tensor
    waited: Tensor

    def __init__(self, jobs: int) -> None:
        super().__init__()
        for name in ("mean", "best"):
            self.register_buffer(name, torch.full((jobs,), UNSEEN))
        self.register_buffer("waited", torch.zeros(jobs, dtype=torch.int64))

    def start(self) -> None:
        """Forget what was seen."""
        self.mean.fill_(UNSEEN)
        self.best.fill_(UNSEEN)
        self.waited.zero_()

    def update(self, losses: Tensor, patience: int) -> Tensor:
        """Look at one iteration's losses.

        Args:
            losses: ``(n,)``, of the first n jobs.
            patience: At least 1.

        Returns:
            ``(n,)``, bool: which stand still. Who once did does so from then on.
        """
        count = len(losses)
        mean, best, waited = self.mean[:count], self.best[:count], self.waited[:count]
        stood = waited >= patience
        mean.copy_(torch.where(mean == UNSEEN, losses, MEMORY * mean + (1 - MEMORY) * losses.detach()))
        gained = mean < best * (1 - LEAST_GAIN)
        best.copy_(torch.where(gained, mean, best))
        waited.copy_(torch.where(stood, waited, torch.where(gained, 0, waited + 1)))
        return waited >= patience


class Gallery(nn.Module):
    """Paintings of finished jobs, in eight bits, by what the jobs were; part of a checkpoint."""

    def add(self, key: str, painting: Tensor) -> None:
        """Keep ``(3, H, W)``, RGB in [0, 1]."""
        self.register_buffer(key, (painting.detach().clamp(0, 1) * 255).round().to(torch.uint8))

    def get(self, key: str) -> Tensor | None:
        """Return ``(3, H, W)``, RGB in [0, 1], or None where there is no such job."""
        kept = self._buffers.get(key)
        return None if kept is None else kept.float() / 255

    def __contains__(self, key: str) -> bool:
        return key in self._buffers

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name, value in state_dict.items():
            if name.startswith(prefix):
                self.register_buffer(name.removeprefix(prefix), torch.empty_like(value))
        super()._load_from_state_dict(state_dict, prefix, *args)


def key_of(content: Tensor, mask: Tensor, prompt: str, *more: object) -> str:
    """Return a name for a job, equal for equal pictures wherever they lie.

    Args:
        content: ``(3, H, W)``, RGB in [0, 1].
        mask: ``(1, H, W)`` in [0, 1].
        prompt: The style.
        *more: What else the result depends on.

    Examples:
        >>> here = torch.zeros(3, 2, 2)
        >>> key_of(here, here[:1], "cubism") == key_of(here.double(), here[:1], "cubism")
        True
    """
    digest = sha256(repr((tuple(content.shape), prompt, more)).encode())
    for part in (content, mask):
        digest.update((part.detach().float() * 65535).round().to("cpu", torch.int32).numpy().tobytes())
    return f"job_{digest.hexdigest()[:24]}"
