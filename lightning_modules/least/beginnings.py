"""Where a painting may begin: at noise, at the content, or at what another method makes of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.errors import ImpastoError
from lightning_modules.least.fitting import Begin

NOISE = "noise"
CONTENT = "content"


def beginning(name: str) -> Begin | None:
    """Return what paints the beginning.

    Args:
        name: ``noise``, ``content``, the file of a checkpoint, or ``embedded:NAME``.

    Returns:
        None for noise.

    Raises:
        ImpastoError: If a checkpoint cannot be read, or its method does not paint by words alone.
    """
    if name == NOISE:
        return None
    if name == CONTENT:
        return lambda content, _: content
    painter = load_checkpoint(name)
    if "text" not in painter.conditions or "image" in painter.requires:
        raise ImpastoError(
            f"{name} holds a {type(painter).__name__}, which does not paint by a prompt alone: choose a checkpoint of "
            "a method that does, such as embedded:clast, as model.begin."
        )

    def paint(content: Tensor, prompts: Sequence[str]) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the start is part of the job, which depends on nothing else
            return painter.to(content.device).stylize(content, prompt=prompts)

    return paint
