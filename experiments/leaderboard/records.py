"""What is kept of a contestant and a seed: one small JSON, from which every page is made."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.evaluation.result import ROWS
from experiments.leaderboard.contestants import Contestant
from experiments.report.marks import direction
from lightning_modules.errors import ImpastoError
from lightning_modules.files import csv_rows, write_atomically

FORMAT = 1
DIGITS = 4
"""Significant ones of a pair's value: more is noise, and makes the files twice as large."""
EXACT = 7
"""And of a mean."""
UNITS = ("content", "style")
"""What pairs have in common; the columns of `pairs` that are no values."""
SAMPLES = "per_sample.csv"
"""Where `callbacks.style_metrics.StyleMetrics` puts the values of every sample."""


@dataclass(frozen=True)
class Record:
    """One contestant with one seed, measured.

    Attributes:
        key: Of the contestant.
        seed: Of its training.
        about: What it is and how it was made: ``name``, ``method``, ``configs``, the hash of its
            ``settings``, ``training``, ``evaluation``.
        metrics: Key to ``mean``, ``low``, ``high``, ``better``, ``convention``.
        pairs: Of all pairs in their order the number of ``content`` and, of a protocol's, ``style``, and every value
            that they have by themselves, by key; empty where only means are known.
    """

    key: str
    seed: int
    about: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    pairs: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def protocol(self) -> str | None:
        """Return the hash of the protocol; None where it was measured by its own run."""
        evaluation = self.about.get("evaluation")
        return str(evaluation["protocol"]["sha256"]) if evaluation else None


def path_of(folder: Path, contestant: Contestant, seed: int) -> Path:
    """Return the file of a record."""
    return folder / f"{contestant.key}-{seed}.json"


def write_record(record: Record, path: Path) -> None:
    """Write a record; the values of all pairs stand in one line a metric, so that Git shows what changed."""
    metrics = {
        key: {name: float(f"{v:.{EXACT}g}") if isinstance(v, float) else v for name, v in metric.items()}
        for key, metric in record.metrics.items()
    }
    head = {"format": FORMAT, "entry": record.key, "seed": record.seed, **record.about, "metrics": metrics}
    lines = [f"    {json.dumps(key)}: {json.dumps(list(values))}" for key, values in record.pairs.items()]
    pairs = "{\n" + ",\n".join(lines) + "\n  }" if lines else "{}"
    text = json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
    write_atomically(path, f'{text},\n  "pairs": {pairs}\n}}\n')


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        ImpastoError: If it is damaged, or of another format.
    """
    try:
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImpastoError(f"{path} is damaged ({error}): remove it, and measure again.") from error


def read_pairs(folder: Path, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of all pairs of an evaluation, as a record keeps them.

    Args:
        folder: Of a finished evaluation.
        metrics: Its numbers. Those that no method can change have none of their pairs kept: nobody compares them.

    Raises:
        ImpastoError: If it has no pairs.
    """
    rows = csv_rows(folder / ROWS)
    if not rows:
        raise ImpastoError(f"{folder / ROWS} has no rows: run the evaluation again.")
    named = {"content": [row["content"] for row in rows], "style": [row.get("artist") or row["style"] for row in rows]}
    pairs: dict[str, list[Any]] = {unit: _numbered(names) for unit, names in named.items()}
    compared = [key for key, metric in metrics.items() if metric["better"] != "none" and key in rows[0]]
    return pairs | {key: [_rounded(row[key]) for row in rows] for key in compared}


def read_samples(run: Path, keys: Iterable[str]) -> dict[str, list[Any]]:
    """Return the values of all samples of a run's last validation, as a record keeps them.

    Args:
        run: Its folder.
        keys: Metrics of the run's summary; what is the mean of its samples has values.

    Returns:
        Every sample has a ``content`` of its own; empty where the run has no such table.
    """
    rows = csv_rows(run / SAMPLES) if (run / SAMPLES).is_file() else []
    if not rows:
        return {}
    columns = {key: key.removeprefix("val/") for key in keys}
    pairs: dict[str, list[Any]] = {"content": _numbered([row["index"] for row in rows])}
    return pairs | {key: [_rounded(row[c] or "") for row in rows] for key, c in columns.items() if c in rows[0]}


def metrics_of_run(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a run measured at its last validation, as a record keeps it."""
    conventions = summary.get("conventions", {})
    return {
        key: {"mean": value, "low": None, "high": None}
        | {"better": direction(key), "convention": conventions.get(key, "")}
        for key, value in summary.get("metrics", {}).items()
        if value == value  # nan is nothing measured
    }


def _parsed(said: dict[str, Any]) -> Record:
    if said.pop("format") != FORMAT:
        raise ValueError("another format")
    key, seed = str(said.pop("entry")), int(said.pop("seed"))
    metrics, pairs = dict(said.pop("metrics")), dict(said.pop("pairs"))
    if any(len(values) != len(pairs["content"]) for values in pairs.values()):
        raise ValueError("pairs without values")
    return Record(key, seed, said, metrics, pairs)


def _numbered(names: Sequence[str]) -> list[int]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def _rounded(text: str) -> float | None:
    return None if text == "" else float(f"{float(text):.{DIGITS}g}")
