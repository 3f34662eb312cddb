"""The pictures of a folder with what somebody wrote about them: files beside the pictures, or one table."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.folders import list_files
from datamodules.images import is_image_name
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import composed

TABLES = ("metadata.jsonl", "metadata.csv", "captions.csv")
"""Tables of captions at the top of a folder, the first that is there; the first two are those of Hugging Face."""
_FILE = ("file_name", "file", "image")
_TEXT = ("text", "caption", "prompt")
_HOW = "write one into a .txt file beside it, or into metadata.jsonl"


class Captioned(NamedTuple):
    """A picture and what it shows.

    Attributes:
        path: The file.
        key: Its path below the folder, without suffix, which no other picture of the folder has.
        caption: In words; empty where nobody wrote any.
    """

    path: Path
    key: str
    caption: str = ""


def list_captioned(folder: Path) -> list[Captioned]:
    """List the pictures under a folder, at any depth, with their captions, sorted by path.

    The caption of ``a/b.png`` is what ``a/b.txt`` holds, or else what a table of `TABLES` says: one object a line with
    ``file_name`` and ``text``, or a CSV file with these columns (``file`` and ``caption`` will do), where files are
    relative to the folder.

    Raises:
        ImpastoError: If the folder is missing or without pictures, a table cannot be read, or two pictures differ in
            their suffix alone.
    """
    if not folder.is_dir():
        raise ImpastoError(f"The folder {folder} does not exist: check the path.")
    listed = list_files(folder, lambda path: is_image_name(path.name) or _is_about_pictures(path, folder))
    pictures = [path for path in listed if is_image_name(path.name)]
    if not pictures:
        raise ImpastoError(f"No pictures under {folder}: it should hold files such as .jpg or .png.")
    texts, written = {path.with_suffix("") for path in listed if path.suffix.lower() == ".txt"}, _table(folder)
    captioned: dict[str, Captioned] = {}
    for path in pictures:
        key = picture_key(path, folder)
        if key in captioned:
            raise ImpastoError(
                f"{captioned[key].path} and {path.name} differ in their suffix alone, and one negative would stand for "
                "both: rename one."
            )
        beside = _words(path.with_suffix(".txt")) if path.with_suffix("") in texts else ""
        captioned[key] = Captioned(path, key, beside or written.get(composed(path.relative_to(folder).as_posix()), ""))
    return list(captioned.values())


def require_captions(pictures: list[Captioned], remedy: str = _HOW) -> None:
    """Refuse pictures without a caption.

    Args:
        pictures: All of a folder.
        remedy: What to do about it, as the end of a sentence.

    Raises:
        ImpastoError: If there is one.
    """
    silent = [picture.path for picture in pictures if not picture.caption]
    if silent:
        raise ImpastoError(f"{len(silent)} of {len(pictures)} pictures have no caption, first {silent[0]}: {remedy}.")


def picture_key(path: Path, folder: Path) -> str:
    """Return a picture's path below a folder, without its suffix, in one spelling on every disk."""
    return composed(path.relative_to(folder).with_suffix("").as_posix())


def _is_about_pictures(path: Path, folder: Path) -> bool:
    return path.suffix.lower() == ".txt" or (path.parent == folder and path.name in TABLES)


def _words(path: Path) -> str:
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise ImpastoError(f"The caption {path} cannot be read ({error}): save it as UTF-8.") from error


def _table(folder: Path) -> dict[str, str]:
    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(_lines(file) if path.suffix == ".jsonl" else csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise ImpastoError(f"The captions {path} cannot be read ({error}): save them again.") from error
    return dict(_entry(row, f"Entry {number} of {path}") for number, row in enumerate(rows, 1))


def _lines(file: Any) -> Iterator[Any]:
    return (json.loads(line) for line in file if line.strip())


def _entry(row: Any, origin: str) -> tuple[str, str]:
    name, text = (_field(row, columns) if isinstance(row, Mapping) else None for columns in (_FILE, _TEXT))
    if name is None or text is None:
        raise ImpastoError(f"{origin} has no {_FILE[0]} or no {_TEXT[0]}: give every picture both.")
    return composed(name), " ".join(text.split())


def _field(row: Mapping[str, Any], columns: tuple[str, ...]) -> str | None:
    found = next((row[column] for column in columns if row.get(column) is not None), None)
    return found if isinstance(found, str) else None
