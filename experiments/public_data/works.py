"""The paintings of WikiArt as the public has them: where each lies, who painted it, and what else is known."""

from __future__ import annotations

import filecmp
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from datamodules.images import is_image_name, list_images
from experiments.public_data.archives import WrongArchiveError, members, opened
from experiments.public_data.extras import extra
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import slug

UNKNOWN = re.compile(r"(?i)unknown[ _-]")
STYLES = frozenset({
    "abstract-expressionism", "action-painting", "analytical-cubism", "art-nouveau", "art-nouveau-modern",
    "baroque", "color-field-painting", "contemporary-realism", "cubism", "early-renaissance", "expressionism",
    "fauvism", "high-renaissance", "impressionism", "mannerism-late-renaissance", "minimalism",
    "naive-art-primitivism", "new-realism", "northern-renaissance", "pointillism", "pop-art",
    "post-impressionism", "realism", "rococo", "romanticism", "symbolism", "synthetic-cubism", "ukiyo-e",
})  # fmt: skip
"""Folders of the archive of WikiArt that is sorted by style."""


class Work(NamedTuple):
    """A painting.

    Attributes:
        artist: Name of its folder; empty where nobody knows who painted it.
        name: Of its file.
        style: Empty where it is not told, as genre.
        genre: What it shows.
        origin: A file, a member of an archive, or parquet file, row group and row.
        key: By which tables of labels know it: the last folder and the file's name.
    """

    artist: str
    name: str
    style: str
    genre: str
    origin: Path | zipfile.ZipInfo | tuple[Path, int, int]
    key: str


def works_of(source: Path, layout: str) -> list[Work]:
    """List the paintings of a source.

    Args:
        source: A folder of artists or of styles, a zip file of one, or parquet files as Hugging Face has them.
        layout: artists or styles say what the folders are; auto looks.

    Raises:
        ImpastoError: If the source is missing, empty or something else.
    """
    if not source.exists():
        raise ImpastoError(f"The source {source} does not exist: check the path.")
    if parquet := parquet_files(source):
        return [work for path in parquet for work in _rows(path)]
    if source.is_file():
        with opened(source) as archive:
            inside = [info for info in members(archive) if is_image_name(PurePosixPath(info.filename).name)]
        if not inside:
            raise WrongArchiveError(f"{source} holds no pictures: it is another archive, or an empty one.")
        return _tree([(PurePosixPath(info.filename), info) for info in inside], layout, source)
    paths = list_images(source)
    return _tree([(PurePosixPath(path.relative_to(source).as_posix()), path) for path in paths], layout, source)


def parquet_files(source: Path) -> list[Path]:
    """Return the parquet files of a source, sorted."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".parquet" else []
    return sorted(source.rglob("*.parquet"))


def _tree(files: Sequence[tuple[PurePosixPath, Path | zipfile.ZipInfo]], layout: str, source: Path) -> list[Work]:
    folders = {path.parent.name for path, _ in files if len(path.parts) > 1}
    known = [name for name in folders if slug(name.replace("_", "-")) in STYLES]
    by_style = layout == "styles" or (layout == "auto" and 2 * len(known) > len(folders))
    works = [_filed(path, origin, by_style) for path, origin in files if len(path.parts) > 1]
    if not works:
        raise ImpastoError(f"{source} holds no folders of paintings, named after artists or styles: check the path.")
    return works


def _filed(path: PurePosixPath, origin: Path | zipfile.ZipInfo, by_style: bool) -> Work:
    folder, key = path.parent.name, f"{path.parent.name}/{path.name}"
    if not by_style:
        return Work(folder, path.name, "", "", origin, key)
    artist, underscore, title = path.name.partition("_")
    if not underscore or not Path(title).stem:
        artist, title = "", path.name
    return Work(artist, title, folder, "", origin, key)


def _rows(path: Path) -> list[Work]:
    """List the paintings of a parquet file without reading their pixels."""
    pa, parquet = extra("pyarrow"), extra("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise ImpastoError(f"{path} is no whole parquet file ({error}): fetch it again.") from error
    names = class_names(file.schema_arrow) or _names_beside(path)
    if missing := {"image", "artist"} - set(file.schema_arrow.names):
        raise ImpastoError(
            f"{path} has no column {' and '.join(sorted(missing))} but {', '.join(file.schema_arrow.names)}: it is "
            "another data set than WikiArt."
        )
    columns = [name for name in ("artist", "style", "genre") if name in file.schema_arrow.names]
    if "artist" not in names and pa.types.is_integer(file.schema_arrow.field("artist").type):
        raise ImpastoError(f"{path} numbers its artists and does not name them: put its dataset_infos.json beside it.")
    works = []
    for group in range(file.num_row_groups):
        told = file.read_row_group(group, columns=[*columns, "image.path"]).to_pylist()
        for row, labels in enumerate(told):
            words = {name: _word(labels[name], names.get(name)) for name in columns}
            own = PurePosixPath((labels["image"] or {}).get("path") or "").name
            name = own if is_image_name(own) else f"{path.stem}-{group}-{row}.jpg"
            artist = "" if UNKNOWN.match(words["artist"]) else words["artist"]
            place = (path, group, row)
            works.append(Work(artist, name, words.get("style", ""), words.get("genre", ""), place, name))
    return works


def class_names(schema: Any) -> dict[str, list[str]]:
    """Return the names behind the numbers of a parquet file's columns, as Hugging Face's `datasets` writes them."""
    try:
        return _names(json.loads(schema.metadata[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError):
        return {}


def _names_beside(path: Path) -> dict[str, list[str]]:
    """Return the same from ``dataset_infos.json``, which lies beside the folder of the files on Hugging Face."""
    for folder in (path.parent, path.parent.parent):
        try:
            infos = json.loads((folder / "dataset_infos.json").read_text(encoding="utf-8"))
            return _names(next(iter(infos.values()))["features"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
            continue
    return {}


def _names(features: dict[str, Any]) -> dict[str, list[str]]:
    return {name: feature["names"] for name, feature in features.items() if "names" in feature}


def _word(value: Any, names: list[str] | None) -> str:
    if isinstance(value, int) and names is not None and 0 <= value < len(names):
        return names[value]
    return "" if value is None else str(value)


def same(one: Work, other: Work) -> bool:
    """Tell whether two paintings are the same file twice, as the archive by styles has some in two styles."""
    if isinstance(one.origin, Path) and isinstance(other.origin, Path):
        return filecmp.cmp(one.origin, other.origin, shallow=False)
    if isinstance(one.origin, zipfile.ZipInfo) and isinstance(other.origin, zipfile.ZipInfo):
        return (one.origin.CRC, one.origin.file_size) == (other.origin.CRC, other.origin.file_size)
    return False


def named_apart(works: Sequence[Work]) -> Iterator[tuple[str, Work]]:
    """Yield paintings with their places in WikiArt's layout, every one once; other paintings of a name get a number."""
    taken: dict[str, Work] = {}
    for work in works:
        artist = work.artist.replace("/", "-").strip(". ") or "unknown-artist"
        path = PurePosixPath(work.name.replace("/", "-"))
        place, number = f"{artist}/{path}", 2
        while place.casefold() in taken and not same(taken[place.casefold()], work):
            place, number = f"{artist}/{path.stem}-{number}{path.suffix}", number + 1
        if place.casefold() not in taken:
            taken[place.casefold()] = work
            yield place, work
