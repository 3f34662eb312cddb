"""A few pictures of every contestant, small enough to lie in the repository, so that pages need no run."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from experiments.evaluation.result import ROWS
from experiments.report.painted import spread
from experiments.scoring.tables import csv_text
from lightning_modules.files import csv_rows, write_atomically

FOLDER = "pictures"
SHOWN = 4
"""How many pairs; all contents and painters of them differ."""
SIDE, QUALITY = 112, 82
GIVEN = ("content", "style", "truth")


def write_thumbnails(evaluation: Path, folder: Path, key: str) -> None:
    """Keep some pairs of an evaluation as a folder that a report reads like an evaluation's own.

    Args:
        evaluation: Folder of a finished evaluation.
        folder: Gets a folder for every contestant, and one of what was given to all.
        key: Of the contestant.
    """
    lines: list[Sequence[str]] = [["id", "stylized", *GIVEN, "prompt"]]
    for row in spread(csv_rows(evaluation / ROWS), SHOWN):
        given = [f"../given/{row['id']}-{name}.jpg" if row.get(name) else "" for name in GIVEN]
        for name, path in zip(GIVEN, given, strict=True):
            if path:
                _write(evaluation / row[name], folder / key / path)
        _write(evaluation / row["stylized"], folder / key / f"{row['id']}.jpg")
        lines.append([row["id"], f"{row['id']}.jpg", *given, row.get("prompt") or row.get("artist") or ""])
    write_atomically(folder / key / ROWS, csv_text(lines))


def _write(source: Path, target: Path) -> None:
    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=QUALITY, optimize=True)
    target = target.resolve()
    if not target.is_file() or target.read_bytes() != data.getvalue():
        write_atomically(target, data.getvalue())
