"""What an evaluation says: `evaluation.json`, and `evaluation.csv` with a row a pair."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.evaluation.protocol import Protocol, Task
from experiments.scoring.measure import Score, Scorer
from experiments.scoring.pairs import Pair
from experiments.scoring.tables import csv_text
from experiments.scoring.targets import write_all
from lightning_modules.errors import ImpastoError
from metrics.functional.intervals import Interval, bootstrap_interval

FORMAT = 1
TABLE = "evaluation.json"
ROWS = "evaluation.csv"
PANEL = ("panel.json", "panel.csv")
"""The independent panel's table and its word on every picture, where the leaderboard has asked it."""
PANEL_PAIRS = "panel-pairs.csv"
"""What it was asked."""
COLUMNS = ("content", "style", "truth", "mask", "artist", "prompt", "clip", "frame")


def metrics_of(scorer: Scorer, protocol: Protocol) -> dict[str, dict[str, Any]]:
    """Return every number with its interval, by key.

    Args:
        scorer: Has measured all pairs of the protocol, in its order.
        protocol: Says what is drawn for intervals.

    Returns:
        ``mean``, ``low``, ``high``, ``n``, ``better``, ``convention``, and ``resampled``: what was drawn for the
        interval. All three are None where a number has no interval.
    """
    resampled = scorer.resampled()
    found = {}
    for score in scorer.table():
        values = resampled.get(score.key)
        if values is None:
            interval, drawn = _interval_of_pairs(score.key, scorer, protocol)
        else:
            interval, drawn = _interval_of_units(*values, protocol)
        found[score.key] = _entry(score, interval, drawn)
    return found


def write_result(folder: Path, result: Mapping[str, Any], rows: str) -> Path:
    """Write both files, the table last: where it is, all is.

    Returns:
        The path of the table.
    """
    table = folder / TABLE
    write_all({folder / ROWS: rows, table: json.dumps(result, indent=2, ensure_ascii=False) + "\n"})
    return table


def read_result(folder: Path) -> dict[str, Any]:
    """Return what `evaluation.json` of a folder says.

    Raises:
        ImpastoError: If it is not there, or is damaged.
    """
    path = folder / TABLE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImpastoError(f"{folder} holds no finished evaluation: run `impasto evaluate --out {folder}`.") from error
    except ValueError as error:
        raise ImpastoError(f"{path} is damaged or breaks off ({error}): run the evaluation again.") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ImpastoError(f"{path} is of another format than {FORMAT}: run the evaluation again.")
    return found


def rows_of(
    protocol: Protocol, files: Sequence[Pair], seconds: Mapping[str, float], scorer: Scorer, folder: Path
) -> str:
    """Return one line of CSV for every pair: its files below the folder, its words, its seconds, its values."""
    keys = list(dict.fromkeys(key for row in scorer.rows for key in row))
    known = [name for name in COLUMNS if any(getattr(pair, name) is not None for pair in files)]
    lines: list[Sequence[Any]] = [["id", "stylized", *known, "seconds", *keys]]
    for task, pair, row in zip(protocol.tasks, files, scorer.rows, strict=True):
        cells = [_below(getattr(pair, name), folder) for name in ("stylized", *known)]
        values = [row.get(key) for key in keys]
        lines.append([task.id, *cells, seconds[task.id], *("" if v is None or v != v else v for v in values)])
    return csv_text(lines)


def _below(value: Any, folder: Path) -> Any:
    return value.relative_to(folder).as_posix() if isinstance(value, Path) else value


def _entry(score: Score, interval: Interval | None, drawn: str) -> dict[str, Any]:
    low, high = (None, None) if interval is None else interval
    return {
        "mean": score.value,
        "low": low,
        "high": high,
        "n": score.pictures,
        "better": score.better,
        "convention": score.convention,
        "resampled": None if interval is None else drawn,
    }


def _interval_of_pairs(key: str, scorer: Scorer, protocol: Protocol) -> tuple[Interval | None, str]:
    """Draw pairs, or the contents and styles that they share, of a number that is the mean of its rows."""
    if not any(key in row for row in scorer.rows):
        return None, ""
    values = torch.tensor([row.get(key, torch.nan) for row in scorer.rows], dtype=torch.float64)
    units = protocol.recipe.estimator.resample
    groups = [_numbered([UNITS[unit](task, protocol) for task in protocol.tasks]) for unit in units]
    return _bootstrap(values, groups, protocol), " and ".join(f"{unit}s" for unit in units) or "pairs"


def _interval_of_units(values: Tensor, units: Tensor, protocol: Protocol) -> tuple[Interval | None, str]:
    """Draw what a metric says belongs together."""
    alone = len(units.unique()) == len(units)
    return _bootstrap(values, [units], protocol), "pictures" if alone else "clips"


def _bootstrap(values: Tensor, groups: Sequence[Tensor], protocol: Protocol) -> Interval | None:
    settings = protocol.recipe.estimator
    return bootstrap_interval(
        values, groups=groups, resamples=settings.resamples, level=settings.level, seed=settings.seed
    )


def _content(task: Task, protocol: Protocol) -> str:
    return "" if task.content is None else protocol.pictures[task.content].sha256


def _style(task: Task, protocol: Protocol) -> str:
    """Return what styles are told by: their artist, else the picture, else the words."""
    if task.artist is not None or task.style is None:
        return str(task.artist or task.prompt)
    return protocol.pictures[task.style].sha256


def _clip(task: Task, protocol: Protocol) -> str:  # noqa: ARG001 - as the others
    return str(task.clip)


UNITS = {"content": _content, "style": _style, "clip": _clip}


def _numbered(names: Sequence[str]) -> Tensor:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names])
