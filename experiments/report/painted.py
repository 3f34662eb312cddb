"""Pictures that `impasto evaluate` has kept: some of a protocol's pairs, the same ones of every method."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from experiments.report.records import Evaluation

ROWS = "evaluation.csv"
GIVEN = {"content": "content", "mask": "region", "style": "condition", "truth": "truth"}
"""From column to title."""
PAIRS = 8
"""How many pairs of a protocol are shown; 750 would be a page of their own."""


@dataclass(frozen=True)
class Painted:
    """One pair: what tells it from others, what was given, what was painted, and the words."""

    key: str
    given: list[tuple[str, Image.Image]]
    painted: Image.Image
    prompt: str


def read_painted(evaluation: Evaluation) -> list[Painted]:
    """Return pairs of an evaluation, spread evenly over it; those whose pictures are not there are left out."""
    folder = Path(evaluation.place)
    table = folder / ROWS
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    protocol = f"{evaluation.protocol.get('name')} {evaluation.protocol.get('sha256')}"
    found = [_read(row, folder, protocol) for row in _spread(rows)]
    return [pair for pair in found if pair is not None]


def _spread(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Choose rows evenly; in a table of contents times styles neighbours share a content."""
    step = len(rows) / PAIRS
    return list(rows) if step <= 1 else [rows[int((number + 0.5) * step)] for number in range(PAIRS)]


def _read(row: Mapping[str, str], folder: Path, protocol: str) -> Painted | None:
    try:
        painted = _open(folder / row["stylized"])
        given = [(title, _open(folder / row[name])) for name, title in GIVEN.items() if row.get(name)]
    except (OSError, KeyError, TypeError):
        return None
    words = row.get("prompt") or row.get("artist") or row.get("id") or ""
    return Painted(f"{protocol} {row.get('id')}", given, painted, words)


def _open(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")
