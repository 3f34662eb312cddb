"""Pictures that `impasto evaluate` has kept: some of a protocol's pairs, the same ones of every method."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from experiments.report.records import Evaluation
from lightning_modules.files import csv_rows

Item = TypeVar("Item")
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
    """Return pairs of an evaluation, spread over it; those whose pictures are not there are left out.

    A table that is damaged shows none: its numbers are in another file.
    """
    folder = Path(evaluation.place)
    table = folder / ROWS
    if not table.is_file():
        return []
    try:
        rows = csv_rows(table)
    except (UnicodeDecodeError, csv.Error):
        return []
    protocol = f"{evaluation.protocol.get('name')} {evaluation.protocol.get('sha256')}"
    found = [_read(row, folder, protocol) for row in spread(rows, PAIRS)]
    return [pair for pair in found if pair is not None]


def spread(rows: Sequence[Mapping[str, str]], count: int) -> list[Mapping[str, str]]:
    """Choose rows of a protocol, along the diagonal where it pairs contents with styles: none of either comes twice.

    Args:
        rows: With the columns content and artist or style, where there are such.
        count: How many at most.
    """
    places = [(row.get("content") or "", row.get("artist") or row.get("style") or "") for row in rows]
    contents, styles = (list(dict.fromkeys(names)) for names in zip(*places, strict=True)) if rows else ([], [])
    found = dict(zip(places, rows, strict=True))
    count = min(count, len(rows))
    steps = min(count, len(contents), len(styles))
    wanted = [(_at(contents, number, steps), _at(styles, number, steps)) for number in range(steps)]
    chosen = [found[place] for place in wanted if place in found]
    return chosen if len(chosen) > 1 else [_at(rows, number, count) for number in range(count)]


def _at(items: Sequence[Item], number: int, count: int) -> Item:
    """Return one of some items that are spread evenly over a sequence."""
    return items[number * len(items) // count]


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
