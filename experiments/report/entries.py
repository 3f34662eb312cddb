"""One row a method: runs that differ in their seeds alone become mean, deviation and interval."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from experiments.report.records import Evaluation, Measurement, RunRecord

CONFIDENCE = 0.95
COLOURS = 8
"""How many colours the page has; the ninth row starts again, with another dash."""
NAMES = ("run_name", "runs_dir", "ckpt_path", "config", "profile", "seed_everything", "wandb", "tensorboard",
         "print_config")  # fmt: skip
"""Settings that say which run this is and not what it does."""

SAID = {"checkpoint": "{}", "condition": "by {}"}
"""What tells evaluations of one row apart, in words; an inference control by its name."""


@dataclass
class Entry:
    """One row of the report.

    Attributes:
        label: Short name, unique in the report.
        runs: What it is made of, in order of seeds; none where only evaluations are known.
        evaluations: What was measured of its checkpoints.
        number: Its place in the report, which chooses its colour and dash.
    """

    label: str
    runs: list[RunRecord] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    number: int = 0

    @property
    def method(self) -> str:
        """Return the method's name."""
        return self.runs[0].method if self.runs else self.evaluations[0].method

    @property
    def profile(self) -> str:
        """Return the profile's name, or an empty string."""
        return str((self.runs[0].summary.get("profile") if self.runs else None) or "")

    @property
    def seeds(self) -> list[Any]:
        """Return the seeds of the runs, as far as they are known."""
        return [run.summary.get("seed") for run in self.runs if run.summary.get("seed") is not None]

    @property
    def colour(self) -> int:
        """Return the number of its colour."""
        return self.number % COLOURS

    @property
    def dash(self) -> int:
        """Return the number of its dash."""
        return self.number // COLOURS

    @property
    def hours(self) -> float | None:
        """Return the mean hours of a run, or None where that is not known."""
        seconds = [run.summary.get("seconds") for run in self.runs]
        known = [float(each) for each in seconds if each is not None]
        return statistics.fmean(known) / 3600 if known else None

    @property
    def device(self) -> str:
        """Return what the runs, or else the evaluations, were on."""
        devices = [str(run.summary.get("device", "unknown")) for run in self.runs] or [
            e.device for e in self.evaluations
        ]
        return ", ".join(dict.fromkeys(devices))

    def measured(self, name: str) -> Measurement | None:
        """Return a metric of the runs' own validation, or None."""
        values = [run.metrics[name] for run in self.runs if name in run.metrics]
        return over_seeds([Measurement(value) for value in values])


def make_entries(runs: Sequence[RunRecord], evaluations: Sequence[Evaluation]) -> list[Entry]:
    """Group runs of one method and profile that differ in their seeds alone, and give each its evaluations.

    A seed that is there twice would count as two: such runs keep rows of their own. So do runs that have not come to
    the same iteration.

    Args:
        runs: In any order.
        evaluations: Of these runs' checkpoints or of others.

    Returns:
        Rows in order of method, profile and name.
    """
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(_kind(run), []).append(run)
    entries = [Entry("", group) for kind in groups.values() for group in _distinct(kind)]
    for evaluation in evaluations:
        owner = next((e for e in entries if any(_is_of(evaluation, run) for run in e.runs)), None)
        if owner is None:
            owner = next((e for e in entries if _same_checkpoint(e, evaluation)), None)
        if owner is None:
            owner = Entry("")
            entries.append(owner)
        owner.evaluations.append(evaluation)
    for entry in entries:
        entry.evaluations = [*(each for run in entry.runs for each in run.evaluations), *entry.evaluations]
    entries.sort(key=lambda entry: (entry.method, entry.profile, [run.name for run in entry.runs]))
    _name(entries)
    return entries


def over_seeds(values: Sequence[Measurement]) -> Measurement | None:
    """Return mean, sample deviation and Student's 95% interval of the mean of several seeds.

    Args:
        values: One a seed; of a single one the interval is its own.

    Returns:
        None of nothing.

    Examples:
        >>> over_seeds([Measurement(1.0), Measurement(2.0), Measurement(3.0)]).deviation
        1.0
    """
    if len(values) < 2:
        return values[0] if values else None
    means = [value.mean for value in values]
    if not all(map(math.isfinite, means)):
        return Measurement(math.nan, n=len(means))
    mean, deviation = statistics.fmean(means), statistics.stdev(means)
    reach = float(student.ppf((1 + CONFIDENCE) / 2, len(means) - 1)) * deviation / math.sqrt(len(means))
    return Measurement(mean, mean - reach, mean + reach, deviation, len(means))


def _kind(run: RunRecord) -> str:
    settings = {key: value for key, value in run.settings.items() if key.split(".")[0] not in NAMES}
    same = [run.method, run.summary.get("profile"), run.summary["iterations"], run.finished, settings]
    return json.dumps(same, sort_keys=True, default=str)


def _distinct(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    seeds = [run.summary.get("seed") for run in runs]
    if None in seeds or len(set(seeds)) < len(seeds):
        return [[run] for run in runs]
    return [sorted(runs, key=lambda run: int(run.summary["seed"]))]


def by_protocol(entry: Entry) -> dict[str, list[Evaluation]]:
    """Return what was measured of a row, by the name and hash of the protocol."""
    found: dict[str, list[Evaluation]] = {}
    for evaluation in entry.evaluations:
        protocol = evaluation.protocol
        found.setdefault(f"{protocol.get('name')} {protocol.get('sha256')}", []).append(evaluation)
    return found


def variants(entry: Entry, measured: Sequence[Evaluation]) -> list[tuple[str, list[Evaluation]]]:
    """Split what was measured of a row with one protocol by what makes no seeds of one another.

    These are the names of checkpoints, such as best and last, and how they painted. A checkpoint that was measured
    twice in the same way counts once, as it was measured last.

    Returns:
        For each variant a label, which adds to the row's as little as tells it from the others, and its evaluations.
    """
    found: dict[tuple[tuple[str, str], ...], dict[str, Evaluation]] = {}
    for evaluation in measured:
        way = {"checkpoint": evaluation.weights.stem, **evaluation.how}
        alike = found.setdefault(tuple(sorted(way.items())), {})
        known = alike.setdefault(evaluation.painter, evaluation)
        if known.finished <= evaluation.finished:
            alike[evaluation.painter] = evaluation
    ways = [dict(way) for way in found]
    names = sorted({name for way in ways for name in way}, key=lambda name: (name not in SAID, name))
    telling = [name for name in names if len({way.get(name) for way in ways}) > 1]
    labels = [[SAID.get(name, f"{name} {{}}").format(way[name]) for name in telling if name in way] for way in ways]
    return [
        (", ".join([entry.label, *label]), list(alike.values()))
        for label, alike in zip(labels, found.values(), strict=True)
    ]


def _is_of(evaluation: Evaluation, run: RunRecord) -> bool:
    place, weights = Path(run.place), evaluation.weights.resolve()
    return place == weights or place in weights.parents


def _same_checkpoint(entry: Entry, evaluation: Evaluation) -> bool:
    return any(each.painter == evaluation.painter for each in entry.evaluations) and not entry.runs


def _name(entries: Sequence[Entry]) -> None:
    """Label each entry with as little as tells it from the others."""
    for entry in entries:
        entry.label = " ".join(filter(None, (entry.method, entry.profile)))
    plain = [entry.label for entry in entries]
    for number, entry in enumerate(entries):
        entry.number = number
        if plain.count(entry.label) > 1:
            entry.label = f"{entry.label} {_own_name(entry)}"
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.label] = counts.get(entry.label, 0) + 1
        if counts[entry.label] > 1:
            entry.label = f"{entry.label} ({counts[entry.label]})"


def _own_name(entry: Entry) -> str:
    if not entry.runs:
        return entry.evaluations[0].weights.stem
    return entry.runs[0].name if len(entry.runs) == 1 else f"{entry.runs[0].name} and {len(entry.runs) - 1} more"
