"""Scores as JSON, CSV or Markdown."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from experiments.scoring.measure import Score
from experiments.scoring.pairs import PICTURES, WORDS, Pair

DIGITS = 6
ARROWS = {"higher": "↑", "lower": "↓", "none": ""}


def render_table(scores: Sequence[Score], suffix: str) -> str:
    """Return one line for every score, with its convention.

    Args:
        scores: The lines.
        suffix: One of `FORMATS`, in any letter case.
    """
    return FORMATS[suffix.lower()](scores)


def render_per_image(pairs: Sequence[Pair], rows: Sequence[Mapping[str, float]]) -> str:
    """Return one line of CSV for every pair: its files and names, then the values that it has by itself.

    Args:
        pairs: The pairs.
        rows: Key to value, for each of them; nan becomes an empty cell.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    known = [name for name in (*PICTURES, *WORDS) if any(getattr(pair, name) is not None for pair in pairs)]
    lines: list[Sequence[Any]] = [[*known, *keys]]
    for pair, row in zip(pairs, rows, strict=True):
        values = [row.get(key) for key in keys]
        lines.append([*(getattr(pair, name) for name in known), *("" if v is None or v != v else v for v in values)])
    return csv_text(lines)


def _json(scores: Sequence[Score]) -> str:
    table = {score.key: {k: v for k, v in asdict(score).items() if k != "key"} for score in scores}
    return json.dumps(table, indent=2, ensure_ascii=False) + "\n"


def _table(scores: Sequence[Score]) -> str:
    names = [field.name for field in fields(Score)]
    return csv_text([["metric", *names[1:]], *([getattr(score, name) for name in names] for score in scores)])


def _markdown(scores: Sequence[Score]) -> str:
    lines = ["| metric | | value | pictures | convention |", "| --- | --- | ---: | ---: | --- |"]
    for score in scores:
        convention = score.convention.replace("|", "\\|")
        lines.append(
            f"| `{score.key}` | {ARROWS[score.better]} | {score.value:.{DIGITS}g} | {score.pictures} | {convention} |"
        )
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Sequence[Score]], str]] = {".json": _json, ".csv": _table, ".md": _markdown}


def csv_text(lines: Sequence[Sequence[Any]]) -> str:
    """Return lines of cells as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
