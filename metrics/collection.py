"""Many metrics of the same pictures, each network passed once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.base import FeatureMean, FeatureMetric, PerSample, PictureMetric, stand_in_suffix
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import has_float64
from metrics.functional.unique import picture_numbers
from metrics.sample_table import SampleTable
from metrics.set_distance import SetMetric


class _Passes(NamedTuple):
    """What a batch was read for, once for all metrics."""

    features: dict[tuple[int, str], dict[str, Tensor]]  # by network and field, then by tap
    references: dict[str, Tensor]  # by field, what tells its pictures apart


class StyleMetricCollection:
    """Metrics that are fed together and reported together.

    Every batch, each network runs once over each side of the batch that a metric wants it for, with the taps of all
    those metrics; nothing is kept from one batch to the next, so features are never those of other pictures. Metrics
    with a value per sample are averaged over all samples; every position in the split counts once, whichever ranks and
    batches brought it and however often. Sets are those of all samples and of all *different* reference pictures: a
    style that goes with many contents counts once, as in a folder.

    Not a module: no network of it can get into a checkpoint or be cast with its owner. All ranks must call ``compute``.

    Args:
        metrics: Name to metric.
        inputs: Name to the fields that this metric is to be fed instead of its own ``inputs``, such as
            ``("stylized", "truth")`` for one more SSIM.

    Attributes:
        seen: Names of the metrics that had a batch with all their fields; after ``compute`` on any rank.

    Raises:
        ImpastoError: If ``inputs`` names no metric.

    Examples:
        >>> from metrics.ssim import StructuralSimilarity
        >>> grey = torch.full((2, 3, 16, 16), 0.5)
        >>> collection = StyleMetricCollection({"ssim_content": StructuralSimilarity()})
        >>> collection.update(stylized=grey, content=grey, index=torch.tensor([0, 1]))
        >>> collection.compute()
        {'ssim_content': tensor(1., dtype=torch.float64)}
    """

    def __init__(self, metrics: Mapping[str, PictureMetric], inputs: Mapping[str, Sequence[str]] | None = None) -> None:
        unknown = sorted(set(inputs or {}) - set(metrics))
        if unknown:
            raise ImpastoError(f"There is no metric {unknown[0]!r} whose inputs could be set.")
        self.metrics = dict(metrics)
        self.inputs = {name: metric.inputs for name, metric in metrics.items()}
        self.inputs |= {name: tuple(fields) for name, fields in (inputs or {}).items()}
        self._columns = [name for name, metric in metrics.items() if isinstance(metric, PerSample)]
        self._device = torch.device("cpu")
        self._artists: dict[str, int] = {}
        self._latest: dict[str, Tensor] = {}
        self.seen: set[str] = set()
        self._keys: dict[str, list[str]] = {}
        self._table = SampleTable(self._columns)
        self.reset()

    # ------------------------------------------------------------------ what is measured

    def key(self, name: str) -> str:
        """Return the name under which a metric is reported: with ``_embedded`` and the like where a stand-in judged."""
        return name + stand_in_suffix(self.metrics[name].sources)

    def conventions(self) -> dict[str, str]:
        """Return for every key how the number is computed, in one line; after ``compute`` also for those it added."""
        lines: dict[str, str] = {}
        for name, metric in self.metrics.items():
            fields = self.inputs[name]
            other = "" if fields == metric.inputs else f"of {' and '.join(fields)}: "
            keys = self._keys.get(name, [self.key(name)])
            lines |= dict.fromkeys(keys, f"{other}{metric.convention}")
        return lines

    # ------------------------------------------------------------------ feeding

    def reset(self) -> None:
        """Forget everything seen so far."""
        self._table.reset()
        nothing = torch.empty(0, dtype=torch.int64, device=self._table.device)
        # A rank without batches must bring a table of the right shape to the gather.
        self._table.update(nothing, nothing, torch.empty(0, len(self._columns), device=self._table.device))
        self.seen, self._latest = set(), {}
        for metric in self.metrics.values():
            metric.reset()

    def to(self, device: torch.device) -> Self:
        """Move the states, which NCCL gathers on the GPU alone; they stay on the CPU where a device has no float64."""
        self._device = device if has_float64(device) else torch.device("cpu")
        self._table.to(self._device)
        for metric in self.metrics.values():
            metric.to(self._device)
        return self

    def update(self, *, index: Tensor, **fields: Any) -> None:
        """Measure a batch.

        Args:
            index: ``(B,)``, int64, the samples' positions in their split; a position counts once.
            fields: ``stylized``, ``content``, ``style``, ``truth``: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8;
                ``artist``: ``(B,)``, int64, or names; ``prompt``: texts, by default the artists' names; and whatever
                the metrics ask for. A metric whose fields are not all there is left out.

        Raises:
            ImpastoError: If shape, type, range or number of something is wrong.
        """
        fields = self._completed(fields | {"index": index})
        self._latest = {}
        if not len(index):
            return
        ready = [name for name, wanted in self.inputs.items() if all(fields.get(field) is not None for field in wanted)]
        passes = self._extract(ready, fields)
        self._latest = {name: values for name in ready if (values := self._feed(name, fields, passes)) is not None}
        missing = torch.full((len(index),), torch.nan, dtype=torch.float64, device=self._device)
        rows = [self._latest.get(column, missing).to(self._device) for column in self._columns]
        table = torch.stack(rows, dim=1) if rows else missing[:, None][:, :0]
        self._table.update(index.to(self._device), fields["group"].to(self._device), table)
        self.seen |= set(ready)

    def sample_values(self) -> dict[str, Tensor]:
        """Return the values of the last batch, ``(B,)`` each, by key, for tables picture by picture."""
        return {self.key(name): values for name, values in self._latest.items()}

    def _completed(self, fields: dict[str, Any]) -> dict[str, Any]:
        artist, count = fields.get("artist"), len(fields["index"])
        if artist is None:
            group = torch.zeros(count, dtype=torch.int64)
        elif isinstance(artist, Tensor):
            group = artist.long()
        else:
            fields.setdefault("prompt", artist)
            group = torch.tensor([self._artists.setdefault(name, len(self._artists)) for name in artist])
            fields["artist"] = group
        wrong = [
            name
            for name, value in fields.items()
            if isinstance(value, Tensor | Sequence) and not isinstance(value, str) and len(value) != count
        ]
        if wrong:
            raise ImpastoError(f"There are {count} positions and {len(fields[wrong[0]])} of {wrong[0]} in this batch.")
        return fields | {"group": group}

    def _extract(self, names: Sequence[str], fields: Mapping[str, Any]) -> _Passes:
        wanted: dict[tuple[int, str], dict[str, None]] = {}
        networks: dict[int, FeatureMetric] = {}
        references: set[str] = set()
        smallest: dict[str, int] = {}
        for name in names:
            metric = self.metrics[name]
            if not isinstance(metric, FeatureMetric):
                continue
            networks[id(metric.extractor)] = metric
            for role in self.inputs[name][:2]:
                wanted.setdefault((id(metric.extractor), role), {}).update(dict.fromkeys(metric.taps))
                smallest[role] = max(smallest.get(role, 1), metric.smallest)
            if isinstance(metric, SetMetric):
                references.add(self.inputs[name][1])
        pictures = {role: as_pictures(fields[role], role, side) for role, side in smallest.items()}
        features = {
            (network, role): networks[network].extract(pictures[role], role, tuple(taps))
            for (network, role), taps in wanted.items()
        }
        return _Passes(features, {role: picture_numbers(pictures[role]) for role in references})

    def _feed(self, name: str, fields: Mapping[str, Any], passes: _Passes) -> Tensor | None:
        metric, inputs = self.metrics[name], self.inputs[name]
        if isinstance(metric, FeatureMetric):
            # Only its own taps: a pass brings those of other metrics too.
            found = [passes.features[id(metric.extractor), role] for role in inputs[:2]]
            fake, real = ({tap: features[tap] for tap in metric.taps} for features in found)
            if isinstance(metric, FeatureMean):
                return metric.values_from(fake, real)
            if isinstance(metric, SetMetric):
                metric.update_shared(fake, real, fields, passes.references[inputs[1]])
                return None
        arguments = [fields[field] for field in inputs]
        if isinstance(metric, PerSample):
            return metric.values(*arguments)
        metric.update(*arguments)
        return None

    # ------------------------------------------------------------------ reporting

    def table(self) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return all samples of all ranks: index ``(N,)``, artist ``(N,)`` and, by key, one value per sample ``(N,)``.

        Samples stand in the order of the index, each once; a value is nan where its metric had nothing to judge.
        """
        index, group, rows = self._table.compute()
        # torchmetrics takes the dimensions off a result of one number, such as the index of a single sample.
        index, group, rows = index.reshape(-1), group.reshape(-1), rows.reshape(index.numel(), len(self._columns))
        return index, group, {self.key(name): rows[:, i] for i, name in enumerate(self._columns)}

    def compute(self, tell: Callable[[str], None] | None = None) -> dict[str, Tensor]:
        """Return every metric's value over all samples so far, by key; float64 scalars as a rule.

        A metric that had none of its fields in any batch is left out; one with several numbers gives several keys.

        Args:
            tell: Takes the sentence of a metric that cannot be computed, such as for want of pictures, which is then
                left out; by default the error is raised.

        Raises:
            ImpastoError: If a metric cannot be computed and there is no ``tell``.
        """
        _, group, columns = self.table()
        self.seen = self._seen_anywhere()
        found: dict[str, Tensor] = {}
        for name in [name for name in self.metrics if name in self.seen]:
            metric, key = self.metrics[name], self.key(name)
            try:
                value = metric.summary(columns[key], group) if isinstance(metric, PerSample) else metric.compute()
            except ImpastoError as error:
                if tell is None:
                    raise
                tell(f"{key} is left out: {error}")
                continue
            numbers = _named(name, key, value)
            self._keys[name] = list(numbers)
            found |= numbers
        return found

    def _seen_anywhere(self) -> set[str]:
        """Ask all ranks, for those without batches must take part in the gather of every metric."""
        seen = torch.tensor([name in self.seen for name in self.metrics], dtype=torch.int64, device=self._device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(seen, op=torch.distributed.ReduceOp.MAX)
        return {name for name, known in zip(self.metrics, seen.tolist(), strict=True) if known}


def _named(name: str, key: str, value: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the numbers of a metric; of several, such as ``kid`` and ``kid_std``, the first is the metric itself."""
    if isinstance(value, Tensor):
        return {key: value}
    first, suffix = next(iter(value)), key.removeprefix(name)
    return {f"{name}{part.removeprefix(first)}{suffix}": number for part, number in value.items()}
