"""What runs and evaluations have written, read back; whatever is damaged is one sentence."""

import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from experiments.runs.table import read_table
from lightning_modules.errors import ImpastoError

T = TypeVar("T")
Curves = dict[str, list[tuple[int, float]]]
RECORDS = ("metrics.csv", "config.yaml", "summary.json")
"""What is read of a run, apart from its samples and evaluations."""
EVALUATION = "evaluation.json"
FORMAT = 1
"""The format of `evaluation.json` that is read here."""


@dataclass(frozen=True)
class Measurement:
    """One metric of one method.

    Attributes:
        mean: The value.
        low: Lower end of its interval, where it has one.
        high: Upper end.
        deviation: Standard deviation over seeds, where there are several.
        n: Of how many seeds, or of how many pictures.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    n: int | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return both ends, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass
class Evaluation:
    """What `impasto evaluate` says about one checkpoint.

    Attributes:
        method: Name of the method.
        checkpoint: Path of what was measured, as it was given.
        protocol: What the protocol file says: ``name``, ``sha256``, ``n``, ``seed``, ``estimator``.
        metrics: Key to measurement.
        better: Key to ``higher``, ``lower`` or ``none``.
        conventions: Key to one line.
        seconds: Median time of a picture, or None.
        device: Where that was.
        command: What repeats it.
        place: The folder.
        how: How it painted: the ``condition`` and every inference control, as far as it says so.
        file: The checkpoint's file, wherever ``checkpoint`` leads today; empty where there is none.
        sha256: Of that file, or of the method's settings.
        finished: When, in ISO 8601 and UTC.
    """

    method: str
    checkpoint: str
    protocol: Mapping[str, Any]
    metrics: dict[str, Measurement]
    better: dict[str, str]
    conventions: dict[str, str]
    seconds: float | None
    device: str
    command: str
    place: str
    how: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    finished: str = ""

    @property
    def painter(self) -> str:
        """Return what tells checkpoints apart, however they were named."""
        return self.sha256 or self.checkpoint

    @property
    def weights(self) -> Path:
        """Return the checkpoint's file, as far as it is known."""
        return Path(self.file or self.checkpoint)


@dataclass
class RunRecord:
    """What a run has left.

    Attributes:
        name: Its name.
        place: Its folder, or where it is on W&B.
        summary: The content of ``summary.json``; of a run that was killed, what its other files tell.
        settings: Dotted key to value, from ``config.yaml``.
        curves: Column to points, from ``metrics.csv``.
        grid: Path of the newest grid of pictures, or None.
        evaluations: What was measured of its checkpoints.
        finished: Whether it has written its summary.
    """

    name: str
    place: str
    summary: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    grid: Path | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    finished: bool = True

    @property
    def metrics(self) -> dict[str, float]:
        """Return the final metrics."""
        metrics: dict[str, float] = self.summary.get("metrics", {})
        return metrics

    @property
    def method(self) -> str:
        """Return the method's name."""
        return str(self.summary["method"])


def is_run(folder: Path) -> bool:
    """Tell whether a folder holds what is read of a run, whole or not."""
    return any((folder / name).is_file() for name in ("metrics.csv", "summary.json"))


def read_run(folder: Path) -> RunRecord:
    """Read one run.

    Raises:
        ImpastoError: If the folder is not that of a run, or one of its records is not whole.
    """
    folder = folder.resolve()
    table, config, summary_file = (folder / name for name in RECORDS)
    if not is_run(folder):
        raise ImpastoError(f"{folder} is not a run: it has neither metrics.csv nor summary.json.")
    curves = _record(table, read_table) or {}
    settings = flatten(_record(config, _read_settings) or {})
    summary = _record(summary_file, _read_summary)
    record = RunRecord(folder.name, str(folder), {}, settings, curves, finished=summary is not None)
    record.summary = summary or summary_of_unfinished(folder.parent.name, settings, curves)
    record.grid = max((folder / "samples").glob("*.png"), default=None)
    record.evaluations = [read_evaluation(path) for path in sorted(folder.glob(f"evaluation/*/{EVALUATION}"))]
    return record


def summary_of_unfinished(method: str, settings: Mapping[str, Any], curves: Curves) -> dict[str, Any]:
    """Return what stands for the summary of a run that has not written one."""
    last = {key: points[-1][1] for key, points in curves.items() if key.startswith(("val/", "test/"))}
    return {
        "method": method,
        "profile": settings.get("profile"),
        "seed": settings.get("seed_everything"),
        "iterations": max((points[-1][0] + 1 for points in curves.values()), default=0),
        "device": "unknown",
        "metrics": last,
    }


def read_evaluation(path: Path) -> Evaluation:
    """Read an `evaluation.json`.

    Raises:
        ImpastoError: If it is damaged, or of another format.
    """
    evaluation = _record(path, _read_evaluation)
    if evaluation is None:
        raise ImpastoError(f"There is no {path}.")
    return evaluation


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return dotted keys of nested settings, ``init_args`` left out of them; in lists, classes stand for themselves.

    Examples:
        >>> flatten({"model": {"class_path": "CLAST", "init_args": {"lr": 0.1}}})
        {'model.class_path': 'CLAST', 'model.lr': 0.1}
        >>> flatten({"callbacks": [{"class_path": "callbacks.grid.Grid", "init_args": {"cell": 8}}]})
        {'callbacks.Grid.class_path': 'callbacks.grid.Grid', 'callbacks.Grid.cell': 8}
    """
    if isinstance(value, list) and value and all(isinstance(item, dict) and "class_path" in item for item in value):
        value = {str(item["class_path"]).rpartition(".")[2]: item for item in value}
    if isinstance(value, dict) and value:
        pairs = ((str(key), item) for key, item in value.items() if key != "init_args" or not isinstance(item, dict))
        flat = {k: v for key, item in pairs for k, v in flatten(item, f"{prefix}.{key}" if prefix else key).items()}
        return flat | (flatten(value["init_args"], prefix) if isinstance(value.get("init_args"), dict) else {})
    return {prefix: value} if prefix else {}


def checked_summary(summary: Any) -> dict[str, Any]:
    """Return a summary whose parts have the right types.

    Raises:
        TypeError: If it has no method, or a part is something else.
        ValueError: If a part is no number that can be counted with.
    """
    if not isinstance(summary, dict) or not isinstance(summary.get("method"), str):
        raise TypeError("no method")
    if summary.get("seed") is not None:
        summary["seed"] = int(summary["seed"])
    if not math.isfinite(summary.get("seconds") or 0):
        raise ValueError(f"seconds are {summary['seconds']}")
    summary["metrics"] = {str(name): float(value) for name, value in summary.get("metrics", {}).items()}
    return {"iterations": 0, "device": "unknown", **summary}


def _record(path: Path, read: Callable[[Path], T]) -> T | None:
    """Read one file, if it is there, and say which one it was that cannot be read."""
    if not path.is_file():
        return None
    try:
        return read(path)
    except (ValueError, TypeError, AttributeError, KeyError, csv.Error, yaml.YAMLError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ImpastoError(
            f"{path} is damaged or breaks off ({reason}): move it away, and the report is made of what else is there."
        ) from error


def _read_settings(path: Path) -> dict[str, Any]:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise TypeError("no settings")
    return settings


def _read_summary(path: Path) -> dict[str, Any]:
    return checked_summary(json.loads(path.read_text(encoding="utf-8")))


def _read_evaluation(path: Path) -> Evaluation:
    said = json.loads(path.read_text(encoding="utf-8"))
    if said["format"] != FORMAT:
        raise ValueError(f"format {said['format']}, where {FORMAT} is known")
    metrics = said["metrics"]
    seconds = said.get("seconds") or {}
    return Evaluation(
        method=str(said["method"]),
        checkpoint=str(said["checkpoint"]["path"]),
        protocol=dict(said["protocol"]),
        metrics={key: _measurement(value) for key, value in metrics.items()},
        better={key: str(value.get("better", "none")) for key, value in metrics.items()},
        conventions={key: str(value.get("convention", "")) for key, value in metrics.items()},
        seconds=None if seconds.get("median") is None else float(seconds["median"]),
        device=str(said.get("device", "unknown")),
        command=str(said.get("command", "")),
        place=str(path.parent),
        how=_how(said.get("settings", {})),
        file=str(said["checkpoint"].get("file", "")),
        sha256=str(said["checkpoint"].get("sha256", "")),
        finished=str(said.get("finished", "")),
    )


def _how(settings: Mapping[str, Any]) -> dict[str, str]:
    said = {name: settings[name] for name in ("condition",) if name in settings} | settings.get("controls", {})
    return {str(name): str(value) for name, value in said.items()}


def _measurement(value: Mapping[str, Any]) -> Measurement:
    low, high = (None if value.get(end) is None else float(value[end]) for end in ("low", "high"))
    return Measurement(float(value["mean"]), low, high, n=value.get("n"))
