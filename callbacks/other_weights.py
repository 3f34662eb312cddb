"""Other weights in a module, for a while."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from lightning.pytorch import LightningModule


@contextmanager
def other_weights(module: LightningModule, state: Mapping[str, Any]) -> Iterator[None]:
    """Let a module have another state of its own kind, and then the bits of its own again.

    Args:
        module: The module; of an experiment, the state has no frozen network in it.
        state: What its ``state_dict`` once returned.

    Raises:
        ImpastoError: If it does not fit the module.
    """
    own = deepcopy(module.state_dict())
    try:
        module.load_state_dict(state)
        yield
    finally:
        module.load_state_dict(own)
