"""What all metrics of pictures have in common: hidden networks, float64 states, a stated convention."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from metrics.functional.checks import check_counts, check_finite
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import as_float64, full_precision

Features = Mapping[str, Tensor]
Average = Literal["micro", "macro"]  # every sample counts the same, or every group
Network = TypeVar("Network", bound=nn.Module)
ANYWHERE = -1  # the position of a sample that has none and is never a repeat
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


def smallest_side(network: nn.Module, usual: int) -> int:
    """Return the side in pixels that a network needs: what it says itself, else what its kind usually does."""
    return int(getattr(network, "smallest", usual))


def stand_in_suffix(sources: Iterable[str]) -> str:
    """Return what marks the name of a number that a stand-in had a part in; nothing where none had.

    Args:
        sources: Where the weights of the metric's networks come from.

    Examples:
        >>> stand_in_suffix(["inception-2015-12-05", "embedded"]), stand_in_suffix(["lpips 0.1 VGG-16"])
        ('_embedded', '')
    """
    found = [mark for mark in ("embedded", "hed", "random") if any(source.startswith(mark) for source in sources)]
    return f"_{found[0]}" if found else ""


class Extractor(Protocol):
    """What turns pictures into features: a frozen module, such as a `VGGEncoder` or those of `metrics.extractors`.

    Attributes:
        source: Where its weights come from, in words.
    """

    source: str

    def __call__(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return what stands at each tap, for pictures ``(B, 3, H, W)``, float32, RGB in [0, 1]."""


class PictureMetric(Metric, ABC):
    """A metric of pictures, safe in checkpoints, half precision and `torchmetrics.MetricCollection`.

    Attributes:
        convention: One line that says how the number is computed, down to the network's weights.
        inputs: What the arguments of ``update`` are, in order, among the fields of a stylisation: ``stylized``,
            ``content``, ``style``, ``truth``, ``artist`` ....
    """

    is_differentiable = False
    full_state_update = False
    inputs: ClassVar[tuple[str, ...]] = ("stylized", "content")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # MetricCollection merges metrics whose states are equal after the first batch, such as two that saw equal
        # pictures and stand at 0; a state that differs from metric to metric forbids it.
        self.add_state("instance", torch.tensor(next(_instances)), dist_reduce_fx="max")

    @property
    @abstractmethod
    def convention(self) -> str:
        """Return how the number is computed, in one line."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Return where the weights of the networks that this metric holds come from."""
        return tuple(source_of(value.network) for value in vars(self).values() if isinstance(value, Held))

    def resampled(self) -> tuple[Tensor, Tensor] | None:
        """Return values whose mean ``compute`` returns, and which of them belong together, ``(N,)`` and int64 ``(N,)``.

        Intervals are made of them. None where the number is no such mean, as a distance of two sets is none: pictures
        drawn with replacement would be copies, which such a distance takes for likeness.
        """
        return None

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Self:
        # `.to(torch.bfloat16)` of a parent would round the running sums; Lightning's bf16-true does just that.
        def moved_only(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        super()._apply(moved_only, exclude_state)
        return self

    def _count_update(self) -> None:
        # torchmetrics drops the cached result, and the warning that there is nothing yet, for update() alone.
        self._computed = None
        self._update_count += 1

    def reset(self) -> None:
        """Forget everything seen so far."""
        # A compute() that raised leaves the states of all ranks in place of this rank's own, and a reset on top of
        # those fails.
        self.unsync(should_unsync=self._is_synced)
        super().reset()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the value; see `torchmetrics.Metric.plot`."""
        return self._plot(val, ax)


class PerSample(PictureMetric):
    """A metric that gives every sample a value of its own, whatever else is in the set."""

    @abstractmethod
    def values(self, preds: Tensor, target: Any) -> Tensor:
        """Return the value of every sample, ``(B,)``, float64, nan where it has none, without counting it."""

    def summary(self, values: Tensor, group: Tensor) -> Tensor:  # noqa: ARG002 - for averages over groups
        """Return what many samples amount to, as ``compute`` does.

        Args:
            values: ``(N,)``, float64, nan where a sample has no value.
            group: ``(N,)``, int64, such as the artist's number.
        """
        return values.nanmean()


class SampleMean(PerSample):
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
        check_counts(preds, target, self.inputs)
        if not len(preds):
            return torch.empty(0, dtype=torch.float64)
        with full_precision(preds.device):
            return self._checked(self._values(preds, target))

    def _checked(self, values: Tensor) -> Tensor:
        return check_finite(as_float64(values), f"value of {type(self).__name__}")

    def _add(self, values: Tensor) -> None:
        self.total += values.sum().to(self.total.device)
        self.count += len(values)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch of pairs.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            target: The pictures that they are compared with; shape and type as ``preds`` unless the class says else.

        Raises:
            ImpastoError: If shape, type, range or number is wrong, or a value is nan or infinite.
        """
        self._add(self.values(preds, target))

    def compute(self) -> Tensor:
        """Return the mean of all pairs so far, a float64 scalar; nan before the first."""
        return self.total / self.count


class FeatureMetric(PictureMetric):
    """A metric on features of one frozen network, which a collection may extract once for many.

    Args:
        extractor: The frozen network; see `Extractor`.

    Attributes:
        taps: The features that it needs.
        smallest: Side in pixels that the features need.
    """

    inputs: ClassVar[tuple[str, ...]] = ("stylized", "style")
    taps: tuple[str, ...]
    smallest: int = 1

    def __init__(self, extractor: nn.Module, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._extractor = Held(extractor)

    @property
    def extractor(self) -> nn.Module:
        """Return the network."""
        return self._extractor.network

    def extract(self, images: Tensor, name: str, taps: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return features of pictures, without counting them.

        Args:
            images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            name: What the pictures are, for the error message.
            taps: By default those that this metric needs.

        Raises:
            ImpastoError: If shape, type or range is wrong.
        """
        pictures = as_pictures(images, name, self.smallest)
        with full_precision(images.device):
            features: dict[str, Tensor] = self._extractor.on(images.device)(pictures, taps or self.taps)
        return features


class FeatureMean(FeatureMetric, SampleMean):
    """The mean over pairs of a distance between the features of two pictures.

    Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8; the two sides may differ in height and width. A subclass
    names its ``taps`` and computes ``_values_from``.
    """

    @abstractmethod
    def _values_from(self, preds: Features, target: Features) -> Tensor: ...

    def values_from(self, preds: Features, target: Features) -> Tensor:
        """Return the value of every pair, ``(B,)``, float64, without counting it; features as of the extractor."""
        with full_precision(preds[self.taps[0]].device):
            return self._checked(self._values_from(preds, target))

    def update_features(self, preds: Features, target: Features) -> None:
        """Count a batch of pairs whose features are known.

        Args:
            preds: Tap to features, ``B`` first.
            target: The same of the pictures that they are compared with.

        Raises:
            ImpastoError: If they do not fit each other, or a value is nan or infinite.
        """
        values = self.values_from(preds, target)
        self._count_update()
        self._add(values)

    def _values(self, preds: Tensor, target: Tensor) -> Tensor:
        return self._values_from(self.extract(preds, self.inputs[0]), self.extract(target, self.inputs[1]))
