"""The comparison of runs: one self-contained page, and the same table as CSV and Markdown."""

import base64
import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from jinja2 import Environment, FileSystemLoader

from experiments.report.curves import draw
from experiments.runs.table import read_table
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

T = TypeVar("T")
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")
# Names that start so grow with quality; the others fall. Reference values, which no method can improve, get no mark.
GROWING = ("deception", "ssim", "csd", "clip", "accuracy", "way", "panel")
HIGHER = tuple(f"{stage}/{name}" for stage in ("val", "test") for name in GROWING)
REFERENCES = ("_ceiling", "_floor", "_chance", "_untrained")
STAND_INS = re.compile("_(embedded|hed|random)$")  # networks that a metric computed with stand-ins names
RECORDS = ("metrics.csv", "config.yaml", "summary.json")
"""What is read of a run, apart from its samples."""
RESULTS = ("table.csv", "table.md", "index.html")
"""What a report consists of."""
HIDDEN_SETTINGS = ("run_name", "runs_dir", "ckpt_path", "config", "profile", "seed_everything", "wandb")


@dataclass
class RunRecord:
    """What a run's folder says about it.

    Attributes:
        label: Short name, unique in the report.
        summary: The content of ``summary.json``; of a run that was killed, what its other files tell.
        settings: Dotted key to value, from ``config.yaml``.
        curves: Column to points, from ``metrics.csv``.
        samples: The newest grid of pictures as a data URI.
        samples_at: The iteration that drew it.
        colour: CSS colour in the report.
    """

    label: str
    summary: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    samples: str | None = None
    samples_at: int | None = None
    colour: str = COLOURS[0]

    @property
    def metrics(self) -> dict[str, float]:
        """Return the final metrics."""
        metrics: dict[str, float] = self.summary.get("metrics", {})
        return metrics


def read_run(folder: Path) -> RunRecord:
    """Read one run.

    Raises:
        ImpastoError: If the folder is not that of a run, or one of its records is not whole.
    """
    folder = folder.resolve()
    table, config, summary_file = (folder / name for name in RECORDS)
    if not (table.is_file() or summary_file.is_file()):
        raise ImpastoError(f"{folder} is not a run: it has neither metrics.csv nor summary.json.")
    curves = _record(table, read_table) or {}
    settings = _record(config, _read_settings) or {}
    summary = _record(summary_file, _read_summary)
    if summary is None:
        last = {key: points[-1][1] for key, points in curves.items() if key.startswith("val/")}
        iterations = max((points[-1][0] + 1 for points in curves.values()), default=0)
        summary = {"method": folder.parent.name, "metrics": last, "iterations": iterations, "device": "not finished"}
    record = RunRecord(folder.name, summary, _flatten(settings), curves)
    grids = sorted((folder / "samples").glob("*.png"))
    if grids:
        record.samples = f"data:image/png;base64,{base64.b64encode(grids[-1].read_bytes()).decode()}"
        record.samples_at = int(grids[-1].stem) if grids[-1].stem.isdigit() else None
    return record


def _record(path: Path, read: Callable[[Path], T]) -> T | None:
    """Read one of a run's files, if it is there, and say which one it was that cannot be read."""
    if not path.is_file():
        return None
    try:
        return read(path)
    except (ValueError, TypeError, AttributeError, csv.Error, yaml.YAMLError) as error:
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
    summary = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(summary, dict) or not isinstance(summary.get("method"), str):
        raise TypeError("no method")
    summary["metrics"] = {str(name): float(value) for name, value in summary.get("metrics", {}).items()}
    return {"iterations": 0, "device": "unknown", **summary}


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Compare runs.

    Args:
        folders: The runs' folders, at least one.
        out: Folder that gets ``index.html``, ``table.csv`` and ``table.md``.

    Returns:
        The page's path.

    Raises:
        ImpastoError: If a folder is not that of a run.
    """
    runs = [read_run(folder) for folder in folders]
    _label(runs)
    rows = metric_rows(runs)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = environment.get_template("report.html").render(
        title=f"{runs[0].summary['method']}: {runs[0].label}" if len(runs) == 1 else f"{len(runs)} runs compared",
        runs=runs,
        metrics=rows,
        curves=_curves(runs),
        settings=_settings(runs),
    )
    header = ["metric", *(run.label for run in runs)]
    table = [[row["name"], *row["cells"]] for row in rows]
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "table.csv", _csv([header, *table]))
    write_atomically(out / "table.md", _markdown(header, rows))
    write_atomically(out / "index.html", page)
    return out / "index.html"


def metric_rows(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return one row per metric: name, formatted cells, the indices of the best cells, direction and convention."""
    rows = []
    for name in sorted({name for run in runs for name in run.metrics}):
        values = [run.metrics.get(name) for run in runs]
        better = direction(name)
        conventions = (run.summary.get("conventions", {}).get(name) for run in runs)
        rows.append({
            "name": name,
            "cells": ["–" if value is None else f"{value:.4f}" for value in values],
            "best": _best(values, better) if len(runs) > 1 else [],
            "better": better,
            "convention": next((text for text in conventions if text), ""),
        })  # fmt: skip
    return rows


def direction(name: str) -> Literal["higher", "lower", "none"]:
    """Say which values of a metric are better.

    Examples:
        >>> direction("val/deception_embedded"), direction("val/lpips_truth"), direction("val/deception_floor")
        ('higher', 'lower', 'none')
    """
    if STAND_INS.sub("", name).endswith(REFERENCES):
        return "none"
    return "higher" if name.startswith(HIGHER) else "lower"


def _best(values: Sequence[float | None], better: str) -> list[int]:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if better == "none" or not known:
        return []
    choose: Callable[[list[float]], float] = max if better == "higher" else min
    return [index for index, value in enumerate(values) if value == choose(known)]


def _label(runs: Sequence[RunRecord]) -> None:
    names = [run.label for run in runs]
    for index, run in enumerate(runs):
        run.colour = COLOURS[index % len(COLOURS)]
        if names.count(run.label) > 1 or len({other.summary["method"] for other in runs}) > 1:
            run.label = f"{run.summary['method']}/{run.label}"


def _curves(runs: Sequence[RunRecord]) -> list[dict[str, str]]:
    names = sorted({name for run in runs for name in run.curves}, key=lambda name: (not name.startswith("val/"), name))
    colours = [run.colour for run in runs]
    return [{"name": name, "svg": draw([run.curves.get(name, []) for run in runs], colours)} for name in names]


def _settings(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return the settings that differ; of a single run those of the model and its data."""
    rows = []
    for name in sorted({name for run in runs for name in run.settings}):
        values = [run.settings.get(name) for run in runs]
        differs = any(value != values[0] for value in values)
        wanted = differs if len(runs) > 1 else name.startswith(("model.", "data."))
        if wanted and name.split(".")[0] not in HIDDEN_SETTINGS:
            rows.append({"name": name, "cells": ["–" if value is None else str(value) for value in values]})
    return rows


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        pairs = ((str(key), item) for key, item in value.items() if key != "init_args" or not isinstance(item, dict))
        flat = {k: v for key, item in pairs for k, v in _flatten(item, f"{prefix}.{key}" if prefix else key).items()}
        return flat | (_flatten(value["init_args"], prefix) if isinstance(value.get("init_args"), dict) else {})
    return {prefix: value} if prefix else {}


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().replace("–", "")


def _markdown(header: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' + ' ---: |' * (len(header) - 1)}"]
    for row in rows:
        cells = [f"**{cell}**" if index in row["best"] else cell for index, cell in enumerate(row["cells"])]
        lines.append(f"| `{row['name']}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
