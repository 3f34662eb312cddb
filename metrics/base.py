"""What all metrics of pictures have in common: hidden networks, float64 states, a stated convention."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_modules.errors import ImpastoError
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import as_float64, full_precision

Features = Mapping[str, Tensor]
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
            return as_float64(self._values_from(preds, target))

    def update_features(self, preds: Features, target: Features) -> None:
        """Count a batch of pairs whose features are known.

        Args:
            preds: Tap to features, ``B`` first.
            target: The same of the pictures that they are compared with.
        """
        self._count_update()
        values = self.values_from(preds, target)
        self.total += values.sum().to(self.total.device)
        self.count += len(values)

    def _values(self, preds: Tensor, target: Tensor) -> Tensor:
        if len(preds) != len(target):
            raise ImpastoError(f"There are {len(preds)} {self.inputs[0]} pictures and {len(target)} {self.inputs[1]}s.")
        return self._values_from(self.extract(preds, self.inputs[0]), self.extract(target, self.inputs[1]))


class SetMetric(FeatureMetric):
    """The distance between two sets of pictures, as rows of features.

    The states are the rows of both sides in float32 and the samples' positions in their split; the distance sees every
    position once, in ascending order, so neither batches nor ranks nor a padded sampler change it. A subclass names
    its ``taps`` and computes ``_distance``; one with several taps says in ``_rows`` what a row is.

    Attributes:
        least: Samples that each side needs.
    """

    least: int = 2
    width: Tensor

    def __init__(self, extractor: nn.Module, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.add_state("width", torch.tensor(0), dist_reduce_fx="max")
        for side in ("real", "fake"):
            self.add_state(f"{side}_rows", [], dist_reduce_fx="cat")
            self.add_state(f"{side}_index", [], dist_reduce_fx="cat")
        self._begin()

    def _begin(self) -> None:
        # A rank without pictures does not know how wide a row is, and a gather needs equal types and dimensions from
        # all: rows are kept flat, and every rank has at least an empty one.
        for side in ("real", "fake"):
            getattr(self, f"{side}_rows").append(torch.empty(0, device=self.device))
            getattr(self, f"{side}_index").append(torch.empty(0, dtype=torch.int64, device=self.device))

    def reset(self) -> None:
        """Forget everything seen so far."""
        super().reset()
        self._begin()

    @abstractmethod
    def _distance(self, real: Tensor, fake: Tensor) -> Tensor | dict[str, Tensor]: ...

    def _rows(self, features: Features) -> Tensor:
        (tap,) = self.taps
        return features[tap]

    def update(self, images: Tensor, *, real: bool, index: Tensor | None = None) -> None:
        """Add pictures to one side.

        Args:
            images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8; batches may differ in size.
            real: Whether they belong to the reference set.
            index: ``(B,)``, the samples' positions in their split; of equal ones only the first counts. By default
                every picture counts.

        Raises:
            ImpastoError: If shape, type, range or number is wrong.
        """
        features = self.extract(images, self.inputs[1] if real else self.inputs[0])
        self.update_features(features, real=real, index=index)

    def update_features(self, features: Features, *, real: bool, index: Tensor | None = None) -> None:
        """Add pictures whose features are known to one side.

        Args:
            features: Tap to features, ``(B, D)`` as a rule.
            real: Whether they belong to the reference set.
            index: As for ``update``.

        Raises:
            ImpastoError: If a feature is not finite, or widths or numbers do not fit each other.
        """
        self._count_update()
        rows = self._rows(features).detach().float().to(self.device)
        if rows.ndim != 2 or int(self.width) not in (0, rows.shape[1]):
            raise ImpastoError(
                f"Features must be (B, {int(self.width) or 'D'}) as on the other side, got {tuple(rows.shape)}."
            )
        if index is not None and len(index) != len(rows):
            raise ImpastoError(f"There are {len(rows)} pictures and {len(index)} positions.")
        if not rows.isfinite().all():
            raise ImpastoError("A feature of these pictures is nan or infinite: check the extractor's weights.")
        side = "real" if real else "fake"
        known = torch.full((len(rows),), ANYWHERE) if index is None else index.detach().long()
        self.width.fill_(rows.shape[1])
        getattr(self, f"{side}_rows").append(rows.flatten())
        getattr(self, f"{side}_index").append(known.to(self.device))

    def update_shared(self, fake: Features, real: Features, fields: Mapping[str, Any]) -> None:
        """Add a batch to both sides whose features somebody extracted for several metrics.

        Args:
            fake: Tap to features of the generated pictures.
            real: The same of the reference pictures.
            fields: All fields of the batch, for metrics that need more; ``index`` is the samples' position.
        """
        for features, side in ((fake, False), (real, True)):
            beside = self._beside(fields, real=side)
            self.update_features(features, real=side, index=fields.get("index"), **beside)

    def _beside(self, fields: Mapping[str, Any], *, real: bool) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return what ``update_features`` needs beside the features."""
        return {}

    def rows(self, real: bool) -> Tensor:
        """Return the rows of one side so far, ``(n, D)``, float32, every position once and in ascending order."""
        side = "real" if real else "fake"
        rows, index = (_joined(getattr(self, f"{side}_{state}")) for state in ("rows", "index"))
        index, order = index.sort(stable=True)
        first = torch.ones(len(index), dtype=torch.bool, device=index.device)
        first[1:] = (index[1:] != index[:-1]) | (index[1:] == ANYWHERE)
        return rows.view(len(index), -1)[order[first]] if len(index) else rows.view(0, int(self.width))

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the distance of the sets so far.

        Raises:
            ImpastoError: If a side has too few pictures.
        """
        sides = {name: self.rows(real=name == "reference") for name in ("reference", "generated")}
        for name, rows in sides.items():
            if len(rows) < self.least:
                raise ImpastoError(
                    f"{type(self).__name__} needs at least {self.least} {name} pictures, there are {len(rows)}."
                )
        with full_precision(self.device):
            return self._distance(sides["reference"], sides["generated"])


def _joined(state: Tensor | list[Tensor]) -> Tensor:
    return torch.cat(state) if isinstance(state, list) else state
