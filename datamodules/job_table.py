"""A table of jobs: one line of a CSV file for each region to be painted."""

import csv
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from datamodules.jobs import Job, JobSource
from datamodules.masks import Box, parse_box, read_mask
from datamodules.sources import Split
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import find_file

COLUMNS = ("image", "prompt", "style", "region", "mask", "box", "truth")
PromptParser = Callable[[str], Any]
"""From a sentence to what has ``clauses``, each with a ``style`` and, in words, ``where``, None for everywhere."""


class JobTable(JobSource):
    """Jobs as a CSV file lists them; every split has them all.

    Columns are ``image``, and ``style`` or ``prompt``; there may be ``region``, ``mask``, ``box`` and ``truth``. Files
    are relative to the table, or absolute. ``style`` and ``region`` are words; where a line has no style, both are read
    from its ``prompt``, "apply <style> style to <region> in the image". ``mask`` is a picture, bright or opaque where
    to paint; ``box`` is ``x0,y0,x1,y1`` in pixels, or in shares such as 0.25; without either a grounder looks for the
    region, and without a region the whole picture is painted. ``truth`` is the whole picture as it should be painted.

    Args:
        path: The CSV file.
        parser: Reads prompts; not needed where every line has a style.

    Source: LEAST, section 4, "Dataset", for the form.
    """

    def __init__(self, path: Path | str, parser: PromptParser | None = None) -> None:
        self.path = Path(path)
        self.parser = parser
        self._mask_is_empty = lru_cache(maxsize=None)(_mask_is_empty)

    def jobs(self, split: Split) -> list[Job]:  # noqa: ARG002 - one table, however it is used
        """List the jobs, in the order of the lines."""
        return [self._job(row, f"Line {number} of {self.path}") for number, row in enumerate(self._rows(), 2)]

    def _rows(self) -> list[dict[str, str]]:
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file, restkey="")
                rows, columns = list(reader), reader.fieldnames or []
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImpastoError(f"The jobs {self.path} cannot be read ({reason}): give a CSV file.") from error
        unknown = [column for column in columns if column not in COLUMNS]
        if unknown or "image" not in columns or not {"style", "prompt"} & set(columns):
            raise ImpastoError(
                f"Line 1 of {self.path} has the columns {', '.join(columns) or 'none'}: there must be image, and style "
                f"or prompt, and there may be {', '.join(COLUMNS[3:])}."
            )
        if not rows:
            raise ImpastoError(f"The jobs {self.path} hold no line below their header.")
        return [self._stripped(row, number) for number, row in enumerate(rows, 2)]

    def _stripped(self, row: Mapping[str, Any], number: int) -> dict[str, str]:
        if "" in row:
            raise ImpastoError(
                f"Line {number} of {self.path} has more fields than the header: put quotes around what holds a comma."
            )
        return {column: (value or "").strip() for column, value in row.items()}

    def _job(self, row: Mapping[str, str], origin: str) -> Job:
        style, region = self._wish(row, origin)
        image = self._file(row, "image", origin)
        if image is None:
            raise ImpastoError(f"{origin} names no image.")
        mask, box = self._file(row, "mask", origin), self._box(row, origin)
        if mask is not None and box is not None:
            raise ImpastoError(f"{origin} has a mask and a box: give one of them.")
        if mask is not None and self._mask_is_empty(mask):
            raise ImpastoError(f"{origin} names the mask {mask}, which is empty: there is nowhere to paint.")
        return Job(image, style, region, mask or box, self._file(row, "truth", origin), origin)

    def _wish(self, row: Mapping[str, str], origin: str) -> tuple[str, str]:
        """Return style and region."""
        style, region, prompt = (row.get(column, "") for column in ("style", "region", "prompt"))
        if style:
            return style, region
        if not prompt:
            raise ImpastoError(f"{origin} has no style: fill in the column style, or prompt.")
        if self.parser is None:
            raise ImpastoError(f"{origin} has a prompt and no style: add columns style and region, or set data.parser.")
        try:
            clauses = self.parser(prompt).clauses
        except ImpastoError as error:
            raise ImpastoError(f"{origin}: {error}") from error
        if len(clauses) != 1:
            raise ImpastoError(f"{origin} asks for {len(clauses)} regions: give each a line of its own.")
        where = clauses[0].where
        return clauses[0].style, region or ("" if where is None else str(where))

    def _file(self, row: Mapping[str, str], column: str, origin: str) -> Path | None:
        name = row.get(column)
        if not name:
            return None
        path = find_file(self.path.parent / name)
        if not path.is_file():
            raise ImpastoError(f"{origin} names the {column} {path}, which is not there.")
        return path

    def _box(self, row: Mapping[str, str], origin: str) -> Box | None:
        text = row.get("box")
        try:
            return parse_box(text) if text else None
        except ImpastoError as error:
            raise ImpastoError(f"{origin}: {error}") from error


def _mask_is_empty(path: Path) -> bool:
    return not bool(read_mask(path).any())
