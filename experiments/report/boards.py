"""The tables of measurements: what was measured alike stands in one, and no column mixes two networks."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.report.entries import Entry, by_protocol, over_seeds, variants
from experiments.report.marks import Mark, direction, is_reference, marks, ranking, stand_in
from experiments.report.records import Evaluation, Measurement

SAME_VALIDATION = re.compile(
    r"data\.(class_path$|content\.|style\.|styles\.|jobs\.|val_size$|val_pictures$|pairs_per_content$|size$)"
    r"|trainer\.limit_val_batches$"
)
"""Settings that say which pictures a validation is of."""


@dataclass(frozen=True)
class Column:
    """One metric.

    Attributes:
        key: Its name.
        better: ``higher``, ``lower`` or ``none``.
        convention: How it is computed.
        network: Which network stood in for the published one, or an empty string.
    """

    key: str
    better: str
    convention: str
    network: str

    @property
    def name(self) -> str:
        """Return the key without the stage, which the table's title has."""
        return self.key.removeprefix("val/")

    @property
    def arrow(self) -> str:
        """Return an arrow to the better values."""
        return {"higher": "↑", "lower": "↓"}.get(self.better, "")

    @property
    def ranked(self) -> str:
        """Return by what marks go: ``higher``, ``lower`` or ``none``."""
        return ranking(self.key, self.better)


@dataclass(frozen=True)
class Cell:
    """A measurement in its column; None where it was not measured."""

    value: Measurement | None
    mark: Mark = ""


@dataclass
class Row:
    """One line: whose it is, and a cell a column."""

    label: str
    entry: Entry
    cells: list[Cell] = field(default_factory=list)


@dataclass
class Board:
    """One table.

    Attributes:
        title: What was measured on what.
        note: What a reader must know of it.
        columns: Metrics to compare; those of published networks first.
        rows: One a method.
        kind: ``validation`` or the name of the protocol.
    """

    title: str
    note: str
    columns: list[Column]
    rows: list[Row]
    kind: str

    def part(self, *, references: bool) -> "Board":
        """Return this table with its reference values alone, or without them; rows without any value are left out."""
        chosen = [n for n, column in enumerate(self.columns) if is_reference(column.key) == references]
        rows = [Row(row.label, row.entry, [row.cells[n] for n in chosen]) for row in self.rows]
        kept = [row for row in rows if any(cell.value is not None for cell in row.cells)]
        return Board(self.title, self.note, [self.columns[n] for n in chosen], kept, self.kind)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Return consecutive columns' networks and how many columns each has."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.network:
                found[-1] = (column.network, found[-1][1] + 1)
            else:
                found.append((column.network, 1))
        return found


def make_boards(entries: Sequence[Entry]) -> list[Board]:
    """Return a table for each protocol, then one for each validation: only what saw the same pictures is compared."""
    protocols: dict[str, list[tuple[Entry, list[Evaluation]]]] = {}
    validations: dict[str, list[Entry]] = {}
    for entry in entries:
        for digest, own in by_protocol(entry).items():
            protocols.setdefault(digest, []).append((entry, own))
        if any(run.metrics for run in entry.runs):
            validations.setdefault(_validation(entry), []).append(entry)
    boards = [_protocol_board(measured) for measured in protocols.values()]
    boards += [_validation_board(alike) for alike in validations.values()]
    titles = [board.title for board in boards]
    for number, board in enumerate(boards):
        if titles.index(board.title) < number:
            board.title = f"{board.title} ({titles[: number + 1].count(board.title)})"
    return boards


def _validation_board(entries: Sequence[Entry]) -> Board:
    conventions: dict[str, str] = {}
    for entry in entries:
        for run in entry.runs:
            conventions |= {key: text for key, text in run.summary.get("conventions", {}).items() if text}
    names = {name for entry in entries for run in entry.runs for name in run.metrics}
    columns = _ordered([Column(key, direction(key), conventions.get(key, ""), stand_in(key)) for key in names])
    rows = [(entry.label, entry, [entry.measured(column.key) for column in columns]) for entry in entries]
    note = "The last validation of each training; runs that differ in their seeds alone are one row."
    return _board(f"Validation: {_pictures(entries[0])}", note, columns, rows, "validation")


def _protocol_board(measured: Sequence[tuple[Entry, Sequence[Evaluation]]]) -> Board:
    first = measured[0][1][0]
    better: dict[str, str] = {}
    conventions: dict[str, str] = {}
    for evaluation in (each for _, own in measured for each in own):
        better |= evaluation.better
        conventions |= evaluation.conventions
    columns = _ordered([Column(key, better[key], conventions[key], stand_in(key)) for key in better])
    rows = []
    for entry, own in measured:
        for label, alike in variants(entry, own):
            cells = [over_seeds([e.metrics[c.key] for e in alike if c.key in e.metrics]) for c in columns]
            rows.append((label, entry, cells))
    said = ", ".join(f"{key} {first.protocol[key]}" for key in ("n", "seed", "estimator") if key in first.protocol)
    note = f"Measured by `impasto evaluate` ({said}); SHA-256 of the protocol: {first.protocol.get('sha256', '?')}."
    name = str(first.protocol.get("name", "?"))
    return _board(f"Protocol {name}", note, columns, rows, name)


def _board(
    title: str,
    note: str,
    columns: list[Column],
    rows: Sequence[tuple[str, Entry, Sequence[Measurement | None]]],
    kind: str,
) -> Board:
    marked = [marks([cells[n] for *_, cells in rows], column.ranked) for n, column in enumerate(columns)]
    lines = [
        Row(label, entry, [Cell(value, marked[n][at]) for n, value in enumerate(cells)])
        for at, (label, entry, cells) in enumerate(rows)
    ]
    return Board(title, note, columns, lines, kind)


def _ordered(columns: list[Column]) -> list[Column]:
    return sorted(columns, key=lambda column: (column.network, column.key))


def _validation(entry: Entry) -> str:
    """Return what two entries have in common whose validations saw the same pictures."""
    settings = entry.runs[0].settings
    said: Mapping[str, Any] = {key: value for key, value in settings.items() if SAME_VALIDATION.match(key)}
    crops = "data.val_size" in said  # then `size` is that of the training's crops
    return str(sorted((key, str(value)) for key, value in said.items() if not (crops and key == "data.size")))


def _pictures(entry: Entry) -> str:
    settings = entry.runs[0].settings
    names = ("data.content.class_path", "data.style.class_path", "data.styles.class_path", "data.jobs.class_path")
    sources = [str(settings[name]).rpartition(".")[2] for name in names if settings.get(name)]
    side = settings.get("data.val_size") or settings.get("data.size")
    limit = settings.get("trainer.limit_val_batches")
    parts = [" and ".join(dict.fromkeys(sources)) or "own data", f"{side} px" if side else ""]
    first = f"first {limit} batches" if isinstance(limit, int) else ""  # a share of them is a float
    return ", ".join(filter(None, [*parts, first]))
