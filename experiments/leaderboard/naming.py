"""What the independent panel says of an evaluation's pictures: `impasto score`, with painters it has learnt."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.evaluation.result import PANEL, PANEL_PAIRS, ROWS
from experiments.scoring.tables import csv_text
from lightning_modules.files import csv_rows, write_atomically


@dataclass(frozen=True)
class Named:
    """Metrics and values of pairs, as a record keeps them."""

    metrics: dict[str, dict[str, Any]]
    pairs: dict[str, list[float | None]]


def whose(folder: Path) -> Path:
    """Write whose manner every picture of an evaluation should have, as `impasto score` reads it; return the file."""
    rows = [[row["stylized"], row["artist"]] for row in csv_rows(folder / ROWS)]
    write_atomically(folder / PANEL_PAIRS, csv_text([["stylized", "artist"], *rows]))
    return folder / PANEL_PAIRS


def read_panel(folder: Path) -> Named:
    """Return what the panel has said."""
    table, values = (folder / name for name in PANEL)
    said = json.loads(table.read_text(encoding="utf-8"))
    metrics = {
        key: {"mean": entry["value"], "low": None, "high": None} | {k: entry[k] for k in ("better", "convention")}
        for key, entry in said.items()
    }
    rows = csv_rows(values)
    keys = [key for key in metrics if key in rows[0]]
    return Named(metrics, {key: [float(row[key]) if row[key] else None for row in rows] for key in keys})
