"""Tables that say of WikiArt's paintings to which split and class they belong."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lightning_modules.errors import ImpastoError

KINDS = ("artist", "style", "genre")
_PATHS = ("path", "filename", "file")
_SPLITS = {"training": "train", "validation": "val", "valid": "val"}


class Label(NamedTuple):
    """What tables say of a painting; empty where they say nothing."""

    split: str = ""
    artist: str = ""
    style: str = ""
    genre: str = ""


def read_labels(source: Path, split_by: str) -> dict[str, Label]:
    """Read labels by the paintings' last folder and name.

    Args:
        source: The folder ``wikiart_csv`` of ArtGAN, with ``style_train.csv``, ``style_val.csv``, ``style_class.txt``
            and so on, at any depth; or a CSV file with a column path (or filename), and split (or subset), artist,
            style or genre.
        split_by: artist, style or genre: whose tables of ArtGAN's give the split, which each of them draws anew.

    Raises:
        ImpastoError: If there is no such file, or it is something else.
    """
    if source.is_file():
        return _table(source)
    found: dict[str, Label] = {}
    for kind in KINDS:
        for split in ("train", "val"):
            for key, name in _artgan(source, kind, split):
                label = found.get(key, Label())._replace(**{kind: name})
                found[key] = label._replace(split=split) if kind == split_by else label
    if not found:
        raise ImpastoError(
            f"{source} is no CSV file and holds none of style_train.csv, style_val.csv and their like: check the path."
        )
    return found


def _artgan(folder: Path, kind: str, split: str) -> Iterator[tuple[str, str]]:
    table = next(iter(sorted(folder.rglob(f"{kind}_{split}.csv"))), None)
    if table is None:
        return
    classes = table.with_name(f"{kind}_class.txt")
    lines = classes.read_text(encoding="utf-8").splitlines() if classes.is_file() else []
    names = {number: name for number, _, name in (line.strip().partition(" ") for line in lines)}
    for row in _lines(table):
        if len(row) != 2:
            raise ImpastoError(f"{table} has the line '{','.join(row)}', where it should have a path and a number.")
        yield _key(row[0]), names.get(row[1].strip(), row[1].strip())


def _table(path: Path) -> dict[str, Label]:
    header, *rows = [*_lines(path)] or [[]]
    columns = {name.strip().casefold(): position for position, name in enumerate(header)}
    own = next((columns[name] for name in _PATHS if name in columns), None)
    split = columns.get("split", columns.get("subset"))
    if own is None or not ({*KINDS} & {*columns} or split is not None):
        raise ImpastoError(
            f"{path} has the columns {', '.join(header) or 'none'}: it needs path (or filename), and split "
            "(or subset), artist, style or genre."
        )
    found = {}
    for row in rows:
        words = {kind: row[columns[kind]] for kind in KINDS if kind in columns}
        part = "" if split is None else row[split].strip().casefold()
        found[_key(row[own])] = Label(_SPLITS.get(part, part), **words)
    return found


def _lines(path: Path) -> Iterator[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from (row for row in csv.reader(file) if row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImpastoError(f"{path} is no CSV file in UTF-8 ({error}): take another one.") from error


def _key(path: str) -> str:
    parts = PurePosixPath(path.strip())
    return f"{parts.parent.name}/{parts.name}"
