"""`metrics.csv`: the plain record of a run, which survives kill -9 and is continued by a resumed run."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only

from lightning_modules.files import replacing

FILENAME = "metrics.csv"


class TableWriter:
    """Append rows to a CSV file whose columns may grow.

    Args:
        path: The file; rows that it has already are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = []
        self.metrics: list[dict[str, Any]] = []  # the name that Lightning's CSVLogger reads
        self._opened = False

    def log_metrics(self, metrics: dict[str, Any], step: int) -> None:
        """Remember one row."""
        values = {key: value.item() if hasattr(value, "item") else value for key, value in metrics.items()}
        self.metrics.append({"step": step, **values})

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Do nothing: the run's ``config.yaml`` says it all."""

    def save(self) -> None:
        """Write the remembered rows; a new column rewrites the file, atomically."""
        if not self.metrics:
            return
        self._open()
        new = {key for row in self.metrics for key in row} - set(self.columns)
        if new:
            rows = self._read() if self.path.is_file() else []
            self.columns = ["step", *sorted({*self.columns, *new} - {"step"})]
            self._replace([*rows, *self.metrics])
        else:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self.columns).writerows(self.metrics)
        self.metrics = []

    def _open(self) -> None:
        # Not in __init__: every rank makes a writer, only the first one may touch the file.
        if self._opened:
            return
        self._opened = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():
            self._replace(self._read())  # drops the half line that a killed process may have left

    def _read(self) -> list[dict[str, Any]]:
        self.columns, rows = _whole_rows(self.path)
        return rows

    def _replace(self, rows: list[dict[str, Any]]) -> None:
        with replacing(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)


class RunTable(CSVLogger):
    """Lightning's CSVLogger, except that it continues an existing file instead of deleting it.

    Args:
        runs_dir: The root of all runs.
        name: The method.
        version: The run's name.
    """

    def __init__(self, runs_dir: Path, *, name: str, version: str) -> None:
        super().__init__(runs_dir, name=name, version=version, flush_logs_every_n_steps=1)
        self._writer: TableWriter | None = None

    @property
    def experiment(self) -> Any:
        """Return the writer of this run's table."""
        if self._writer is None:
            self._writer = TableWriter(Path(self.log_dir) / FILENAME)
        return self._writer

    @rank_zero_only
    def finalize(self, status: str) -> None:  # noqa: ARG002
        """Write what is left."""
        if self._writer is not None:
            self._writer.save()


def read_table(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Read a ``metrics.csv`` as curves.

    Args:
        path: The file.

    Returns:
        For every column the points ``(step, value)`` in order of steps; of a step that was logged again after a
        resume, the later value. The half line that a killed process may have left is not read.

    Raises:
        ValueError: If a value is no number, or there is no column ``step``.
    """
    curves: dict[str, dict[int, float]] = {}
    columns, rows = _whole_rows(path)
    if columns and "step" not in columns:
        raise ValueError("it has no column step")
    for row in rows:
        step = int(row.pop("step"))
        for key, value in row.items():
            if value and key != "epoch":
                curves.setdefault(key, {})[step] = float(value)
    return {key: sorted(points.items()) for key, points in curves.items()}


def _whole_rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns of a table and the rows that end with a line end."""
    text = path.read_text(encoding="utf-8")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    rows = list(reader)
    return list(reader.fieldnames or []), rows
