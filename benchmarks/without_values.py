"""Run a training step on PyTorch's `meta` device, which holds shapes and no values: at any size, in no time.

What would have to come back from an accelerator is answered with ones, so that the step goes on.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")
aten = torch.ops.aten


class Ones(TorchDispatchMode):
    """Answers every question for a value of `meta` with ones, and counts the operations.

    Attributes:
        operations: So far, those of no more than a view among them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, unless it reads."""
        kwargs = kwargs or {}
        self.operations += 1
        if operation is aten._local_scalar_dense.default and is_meta(args[0].device):
            self.read(operation)
            return 1  # enough to go on
        if operation is aten._to_copy.default and is_meta(args[0].device) and not is_meta(kwargs.get("device")):
            self.read(operation)
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype", args[0].dtype))
        return operation(*args, **kwargs)

    def read(self, operation: Any) -> None:
        """Hear that an operation has asked for a value."""


def is_meta(device: torch.device | str | None) -> bool:
    """Tell whether a tensor is on `meta`, or stays where it is."""
    return device is None or torch.device(device).type == "meta"


class WithoutValues(SingleDeviceStrategy):
    """The CPU's strategy, whose model and batches are on `meta`."""

    def __init__(self) -> None:
        super().__init__(device=torch.device("cpu"))

    def model_to_device(self) -> None:
        """Move the model there."""
        assert self.model is not None  # noqa: S101
        self.model.to(META)

    def batch_to_device(self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0) -> Any:  # noqa: ARG002
        """Move a batch there."""
        return super().batch_to_device(batch, META, dataloader_idx)


def autocast(device_type: str, *args: Any, _autocast: Any = torch.autocast, **kwargs: Any) -> Any:
    """Be `torch.autocast`, which does not know `meta`."""
    return contextlib.nullcontext() if device_type == "meta" else _autocast(device_type, *args, **kwargs)


def train(module: LightningModule, data: LightningDataModule, mode: TorchDispatchMode, steps: int = 1) -> None:
    """Train for a few steps inside a dispatch mode."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(
        accelerator="cpu",
        strategy=WithoutValues(),
        max_steps=steps,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **quiet,  # type: ignore[arg-type]
    )
    with mock.patch.object(torch, "autocast", autocast), mode:
        trainer.fit(module, datamodule=data)
