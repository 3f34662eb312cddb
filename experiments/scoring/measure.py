"""Measure the pictures of folders, one at a time, so that they may all differ in size."""

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from datamodules.images import ImageReadError, read_image
from datamodules.masks import read_mask
from experiments.scoring.pairs import Pair, require
from lightning_modules.errors import ImpastoError
from metrics.base import PerSample, PictureMetric, stand_in_suffix
from metrics.catalogue import Judges, find, make_metrics
from metrics.collection import StyleMetricCollection
from metrics.reference_cache import ReferenceCache
from metrics.set_distance import SetMetric

Better = Literal["higher", "lower", "none"]
KEPT = 8  # decoded pictures: pairs of one content follow each other
# What a metric of the pairs takes, by its first need: a prompt is the style in words, a painter the artist's name.
FIELDS = {
    "content": ("stylized", "content"),
    "style": ("stylized", "style"),
    "prompt": ("stylized", "prompt"),
    "artist": ("stylized", "painter"),
    "clip": ("stylized", "clip", "frame"),
    "truth": ("stylized", "truth"),
}
# Beside a rate of deception: the same of the styles themselves, and of untouched contents; beside the steadiness of
# a clip that of the clip it was made from.
REFERENCES = {"artist": {"ceiling": "style", "floor": "content"}, "clip": {"input": "content"}}
TRUTH = "_truth"
"""Ends the name of a metric of contents that compares with the true picture instead."""
NOTHING = {
    "content": "no content has edges, and enough flat parts both near and far from them",
    "artist": "the classifier knows none of these artists by name, choose another with --classifier",
    "clip": "no clip has two frames that follow each other",
}


@dataclass(frozen=True)
class Score:
    """One line of the table.

    Attributes:
        key: The metric's name, with ``_embedded`` and the like where a stand-in judged.
        value: The number.
        better: Which values are better; none for a reference that no method can change.
        pictures: Pairs behind the number, or different stylised pictures for a distance of sets.
        convention: How it is computed, in one line.
    """

    key: str
    value: float
    better: Better
    pictures: int
    convention: str


def needs_of(name: str) -> tuple[str, ...]:
    """Return what a metric that `Scorer` takes needs of every pair; see `metrics.catalogue.Entry`.

    Raises:
        ImpastoError: If there is no such metric, or it does not compare with contents and so not with truths.

    Examples:
        >>> needs_of("ssim"), needs_of("ssim_truth")
        (('content',), ('truth',))
    """
    base = name.removesuffix(TRUTH)
    needs = find(base).needs
    if name == base:
        return needs
    if needs != ("content",):
        raise ImpastoError(f"There is no {name}: {base} compares with {' and '.join(needs)}, not with contents alone.")
    return ("truth",)


class Scorer:
    """Measures pairs and sets of pictures with metrics that share their passes through the networks.

    Args:
        names: Metrics that `metrics.catalogue.find` knows; one of contents with `TRUTH` behind its name compares with
            the true pictures.
        judges: Where the networks come from.
        device: Where they run.

    Attributes:
        rows: For every pair the values that it has by itself, by key.

    Raises:
        ImpastoError: If a name is unknown or weights are missing.
    """

    def __init__(self, names: Sequence[str], judges: Judges, device: torch.device) -> None:
        self._needs = {name: needs_of(name) for name in names}
        bases = {name: name.removesuffix(TRUTH) for name in names}
        metrics_of = make_metrics(list(bases.values()), judges)
        made = {name: copy.deepcopy(metrics_of[base]) for name, base in bases.items()}  # with the same network
        self.rows: list[dict[str, float]] = []
        self._sets: dict[str, Any] = {name: metric for name, metric in made.items() if isinstance(metric, SetMetric)}
        metrics, fields = self._of_pairs({name: metric for name, metric in made.items() if name not in self._sets})
        self._pairs = StyleMetricCollection(metrics, fields).to(device)
        # A set metric that asks for contents takes whole pictures; of the others, those of one network share a pass.
        self._whole = [metric for name, metric in self._sets.items() if "content" in self._needs[name]]
        self._shared = _by_extractor(m for name, m in self._sets.items() if "content" not in self._needs[name])
        self._device = device
        self._clips: dict[str, int] = {}
        self._in_sets: set[Path] = set()
        self._read = lru_cache(maxsize=KEPT)(self._load)
        for metric in self._sets.values():
            metric.to(device)

    def _of_pairs(self, made: dict[str, PictureMetric]) -> tuple[dict[str, PictureMetric], dict[str, tuple[str, ...]]]:
        """Add the references, and say what each metric takes."""
        metrics, fields = dict(made), {}
        for name, metric in made.items():
            need = self._needs[name][0]
            if "mask" in self._needs[name]:
                painter = "painter" if need == "artist" else "prompt"
                fields[name] = tuple(painter if field == "prompt" else field for field in metric.inputs)
                continue
            fields[name] = FIELDS[need]
            for kind, picture in REFERENCES.get(need, {}).items():
                metrics[f"{name}_{kind}"] = copy.deepcopy(metric)
                fields[f"{name}_{kind}"] = (picture, *FIELDS[need][1:])
        return metrics, fields

    def add_pairs(self, pairs: Sequence[Pair], advance: Callable[[], None]) -> None:
        """Measure every pair, and add its stylised picture to the generated sets, where every file counts once.

        Args:
            pairs: What belongs together.
            advance: Is called after every pair.

        Raises:
            ImpastoError: If something that a metric needs is missing, or a picture cannot be read or measured.
        """
        for name, needs in self._needs.items():
            for need in needs:
                if need != "styles":
                    require(pairs, need, name)
        wanted = {picture for fields in self._pairs.inputs.values() for picture in fields}
        rows: dict[int, dict[str, float]] = {}
        for number in self._order(pairs):
            pair = pairs[number]
            with _naming(pair.stylized):
                self._pairs.update(index=torch.tensor([number]), **self._fields(pair, wanted))
                rows[number] = {key: float(value) for key, value in self._pairs.sample_values().items()}
                self._add_to_sets(number, pair)
            advance()
        self.rows += [rows[number] for number in range(len(pairs))]

    def add_styles(self, styles: Sequence[Path], advance: Callable[[], None]) -> None:
        """Add the reference set of the metrics that compare sets, every picture once, from the disk's cache if there.

        Args:
            styles: The pictures.
            advance: Is called after every picture.

        Raises:
            ImpastoError: If a picture cannot be read or measured.
        """
        for group in _by_extractor(self._sets.values()):
            taps = _taps(group)
            rows = ReferenceCache().rows(styles, group[0].extractor, taps, self._named)
            for metric in group:
                own = {tap: rows.features[tap] for tap in metric.taps}
                metric.update_features(own, real=True, index=rows.numbers)
        for _ in styles:
            advance()

    def table(self) -> list[Score]:
        """Return one line for every metric, and the references that belong beside it.

        Raises:
            ImpastoError: If there is nothing to compute a number from.
        """
        scores: list[Score] = []
        for name in self._needs:
            scores += [self._score_of_sets(name)] if name in self._sets else self._scores_of_pairs(name)
        return scores

    def resampled(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return for every key without a value in `rows` what its mean is of; see `PictureMetric.resampled`."""
        sets = {name + stand_in_suffix(metric.sources): metric for name, metric in self._sets.items()}
        clips = {self._pairs.key(name): metric for name, metric in self._pairs.metrics.items()}
        found = {key: metric.resampled() for key, metric in (sets | clips).items()}
        return {key: values for key, values in found.items() if values is not None}

    def _order(self, pairs: Sequence[Pair]) -> Sequence[int]:
        """Return the numbers of the pairs as they are measured: clips frame after frame, however they are listed."""
        numbers = range(len(pairs))
        if not any("clip" in needs for needs in self._needs.values()):
            return numbers
        return sorted(numbers, key=lambda number: (str(pairs[number].clip), pairs[number].frame or 0))

    def _fields(self, pair: Pair, wanted: set[str]) -> dict[str, Any]:
        pictures = {kind: getattr(pair, kind) for kind in ("stylized", "content", "style", "truth") if kind in wanted}
        fields: dict[str, Any] = {kind: self._read(path) for kind, path in pictures.items() if path is not None}
        if "mask" in wanted and pair.mask is not None:
            fields["mask"] = read_mask(pair.mask)[None].to(self._device)
        clip = self._clips.setdefault(str(pair.clip), len(self._clips))
        numbers = {"clip": clip, "frame": pair.frame or 0}
        words = {"prompt": pair.prompt, "painter": pair.artist}
        fields |= {name: torch.tensor([value]) for name, value in numbers.items()}
        return fields | {name: [value] for name, value in words.items() if value is not None}

    def _add_to_sets(self, number: int, pair: Pair) -> None:
        """Add a stylised picture to the generated sets, once however many pairs name it."""
        file = pair.stylized.resolve()
        if file in self._in_sets:
            return
        self._in_sets.add(file)
        position, picture = torch.tensor([number]), self._read(pair.stylized)
        for metric in self._whole:
            content = {} if pair.content is None else {"content": self._read(pair.content)}
            metric.update(picture, real=False, index=position, **content)
        for group in self._shared:
            features = group[0].extract(picture, "stylized", _taps(group))
            for metric in group:
                own = {tap: features[tap] for tap in metric.taps}
                metric.update_features(own, real=False, index=position)

    def _score_of_sets(self, name: str) -> Score:
        metric = self._sets[name]
        value = float(metric.compute())
        key = name + stand_in_suffix(metric.sources)
        return Score(key, value, _better(metric), len(self._in_sets), metric.convention)

    def _scores_of_pairs(self, name: str) -> Iterator[Score]:
        metric = self._pairs.metrics[name]
        value, count = self._mean(name)
        if math.isnan(value):
            raise ImpastoError(f"{name} has no value: {NOTHING.get(self._needs[name][0], 'every picture gave nan')}.")
        yield Score(self._pairs.key(name), value, _better(metric), count, metric.convention)
        for kind, picture in REFERENCES.get(self._needs[name][0], {}).items():
            part = f"{name}_{kind}"
            value, count = self._mean(part) if part in self._pairs.metrics else (math.nan, 0)
            if count:
                yield Score(self._pairs.key(part), value, "none", count, f"of the {picture}s: {metric.convention}")

    def _mean(self, name: str) -> tuple[float, int]:
        """Return the metric's value over all pairs, and how many of them it comes from."""
        metric, key = self._pairs.metrics[name], self._pairs.key(name)
        if not isinstance(metric, PerSample):
            return (float(metric.compute()), len(self.rows)) if metric.update_called else (math.nan, 0)
        values = torch.tensor([row.get(key, math.nan) for row in self.rows], dtype=torch.float64)
        known = int((~values.isnan()).sum())
        # One group: no metric of the catalogue averages over artists.
        return float(metric.summary(values, torch.zeros(len(values), dtype=torch.int64))), known

    def _named(self, path: Path) -> Tensor:
        with _naming(path):
            return self._read(path)

    def _load(self, path: Path) -> Tensor:
        return read_image(path)[None].to(self._device)


def _by_extractor(metrics: Iterable[Any]) -> list[list[Any]]:
    groups: dict[int, list[Any]] = defaultdict(list)
    for metric in metrics:
        groups[id(metric.extractor)].append(metric)
    return list(groups.values())


def _taps(group: Sequence[SetMetric]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tap for metric in group for tap in metric.taps))


def _better(metric: PictureMetric) -> Better:
    return "higher" if metric.higher_is_better else "lower"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say of which picture a metric complains."""
    try:
        yield
    except ImageReadError:
        raise
    except ImpastoError as error:
        raise ImpastoError(f"{path}: {error}") from error
