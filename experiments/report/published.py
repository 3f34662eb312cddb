"""What the papers report: `experiments/<method>/published.yaml`, kept apart from everything that was measured here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.report.boards import Board
from experiments.report.entries import Entry
from experiments.report.records import Measurement
from lightning_modules.errors import ImpastoError

FOLDER = Path(__file__).resolve().parents[1]
FILENAME = "published.yaml"


@dataclass(frozen=True)
class Metric:
    """A column's meaning.

    Attributes:
        better: ``higher``, ``lower`` or ``none``.
        here: Keys that measure the same in this repo.
        differs: What its convention is, as far as it is known, and what is different here.
    """

    better: str
    here: tuple[str, ...]
    differs: str

    @property
    def arrow(self) -> str:
        """Return an arrow to the better values."""
        return {"higher": "↑", "lower": "↓"}.get(self.better, "")


@dataclass(frozen=True)
class Line:
    """A table's row; ``own`` where it is the paper's own method."""

    method: str
    values: tuple[float | None, ...]
    own: bool = False


@dataclass(frozen=True)
class Published:
    """One table of a paper: name, caption, columns, what they mean, and rows."""

    name: str
    caption: str
    columns: tuple[str, ...]
    metrics: tuple[Metric, ...]
    rows: tuple[Line, ...]


@dataclass(frozen=True)
class Paper:
    """What a paper reports.

    Attributes:
        method: Name of the method in this repo.
        title: The paper's.
        link: Where it is.
        hours: Of its training, or None.
        device: What that ran on, or None.
        note: What the paper says of it.
        tables: Its tables.
    """

    method: str
    title: str
    link: str
    hours: float | None
    device: str | None
    note: str
    tables: tuple[Published, ...]


def read_paper(method: str, folder: Path = FOLDER) -> Paper | None:
    """Return what the paper of a method reports, or None where nothing is known.

    Raises:
        ImpastoError: If the file does not hold what it should.
    """
    path = folder / method / FILENAME
    if Path(method).name != method or not path.is_file():
        return None
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        metrics = {name: Metric(m["better"], tuple(m["here"]), m["differs"]) for name, m in said["metrics"].items()}
        training = said["training"]
        return Paper(
            method,
            said["paper"],
            said["link"],
            training["hours"],
            training["device"],
            training["note"],
            tuple(_table(table, metrics) for table in said["tables"]),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ImpastoError(f"{path} is not what a table of a paper should be ({error}).") from error


def measured_here(table: Published, method: str, boards: Sequence[Board]) -> list[tuple[str, list[Measurement | None]]]:
    """Return what was measured of a method with the same kind of network, to stand below a paper's table.

    What a stand-in network measured has its own name, ``..._embedded``, and is therefore never among it; nor is what
    would stand below a column of one data set, such as ``Monet CSD``.

    Returns:
        A label, which says on what it was measured, and a value for each column; rows without a value are left out.
    """
    found = []
    for board in boards:
        for row in board.rows:
            if row.entry.method == method:
                cells = {column.key: cell.value for column, cell in zip(board.columns, row.cells, strict=True)}
                values = [_first(metric, cells) for metric in table.metrics]
                found += [(f"{row.label}, {board.title}", values)] if any(values) else []
    return found


def papers_of(entries: Sequence[Entry]) -> list[Paper]:
    """Return the papers of the methods in a report, each once."""
    methods = dict.fromkeys(entry.method for entry in entries)
    return [paper for paper in map(read_paper, methods) if paper is not None]


def _first(metric: Metric, cells: Mapping[str, Measurement | None]) -> Measurement | None:
    return next((cells[key] for key in metric.here if cells.get(key) is not None), None)


def _table(said: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Published:
    columns = tuple(map(str, said["columns"]))
    rows = tuple(Line(row["method"], _values(row, len(columns)), row.get("own", False)) for row in said["rows"])
    return Published(said["name"], said["caption"], columns, tuple(_meaning(c, metrics) for c in columns), rows)


def _meaning(column: str, metrics: Mapping[str, Metric]) -> Metric:
    if column in metrics:
        return metrics[column]
    metric = next((metric for name, metric in metrics.items() if column.endswith(f" {name}")), None)
    if metric is None:
        raise ValueError(f"no metric of the column {column}")
    return Metric(metric.better, (), metric.differs)  # of one data set, which is not the one here


def _values(row: Mapping[str, Any], count: int) -> tuple[float | None, ...]:
    values = tuple(None if value is None else float(value) for value in row["values"])
    if len(values) != count:
        raise ValueError(f"{row['method']} has {len(values)} values for {count} columns")
    return values
