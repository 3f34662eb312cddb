"""What all metrics of pictures have in common: hidden networks, float64 states, a stated convention."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from metrics.functional.precision import as_float64, full_precision

Network = TypeVar("Network", bound=nn.Module)
_instances = count()


class Held(Generic[Network]):
    """A frozen network that its holder uses but does not own.

    As an ``nn.Module`` attribute it would land in every checkpoint, be cast and moved with its holder, and be copied
    with it.

    Args:
        network: The network; it is put into eval mode.
    """

    def __init__(self, network: Network) -> None:
        self.network = network.eval()

    def on(self, device: torch.device) -> Network:
        """Return the network, moved to ``device`` unless it is there."""
        parameter = next(self.network.parameters(), None)
        if parameter is not None and parameter.device != device:
            self.network.to(device)
        return self.network

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def source_of(network: nn.Module) -> str:
    """Return where a network's weights come from, in words; the class's name where it does not say."""
    return str(getattr(network, "source", type(network).__name__))


class PictureMetric(Metric, ABC):
    """A metric of pictures, safe in checkpoints, half precision and `torchmetrics.MetricCollection`.

    Attributes:
        convention: One line that says how the number is computed, down to the network's weights.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # MetricCollection merges metrics whose states are equal after the first batch, such as two that saw equal
        # pictures and stand at 0; a state that differs from metric to metric forbids it.
        self.add_state("instance", torch.tensor(next(_instances)), dist_reduce_fx="max")

    @property
    @abstractmethod
    def convention(self) -> str:
        """Return how the number is computed, in one line."""

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Self:
        # `.to(torch.bfloat16)` of a parent would round the running sums; Lightning's bf16-true does just that.
        def moved_only(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        super()._apply(moved_only, exclude_state)
        return self

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the value; see `torchmetrics.Metric.plot`."""
        return self._plot(val, ax)


class SampleMean(PictureMetric):
    """The mean over samples of a value that every sample has by itself.

    The states are a float64 sum and a count, so batches of any size and ranks with any number of batches give the
    same mean; nothing grows with the data.
    """

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def _values(self, preds: Tensor, target: Tensor) -> Tensor: ...

    def values(self, preds: Tensor, target: Tensor) -> Tensor:
        """Return the value of every pair, ``(B,)``, without counting it; arguments as for ``update``."""
        with full_precision(preds.device):
            return as_float64(self._values(preds, target))

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch of pairs.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            target: The pictures that they are compared with; shape and type as ``preds`` unless the class says else.

        Raises:
            ImpastoError: If shape, type or range is wrong.
        """
        values = self.values(preds, target)
        self.total += values.sum().to(self.total.device)
        self.count += len(values)

    def compute(self) -> Tensor:
        """Return the mean of all pairs so far, a float64 scalar; nan before the first."""
        return self.total / self.count
