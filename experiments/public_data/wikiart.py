"""WikiArt in the layout that `datamodules.sources.WikiArt` reads: a folder per artist."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

from datamodules.sources import HOLDOUT, Painting, artist_name
from datamodules.splits import hold_out
from experiments.public_data.archives import WrongArchiveError, extract, opened
from experiments.public_data.disk import require_space
from experiments.public_data.downloads import fetch, is_address
from experiments.public_data.extras import extra
from experiments.public_data.labels import Label, read_labels
from experiments.public_data.manifest import MANIFEST, write_manifest
from experiments.public_data.pictures import Link, describe, place
from experiments.public_data.pool import work_progress
from experiments.public_data.staging import DOWNLOADS, staged
from experiments.public_data.works import Work, named_apart, works_of
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically


class WikiArt:
    """WikiArt's paintings.

    Args:
        source: A folder, a zip file or parquet files, or the address of a file.
        layout: artists or styles say what folders are named after; auto looks.
        labels: Tables of splits and classes, as `read_labels` takes them.
        split_by: Whose splits count.
        keep_unknown: Whether to take paintings whose painter nobody knows, as the works of one more artist.
        link: How files of a folder are put into place.
        checksums: Of files that are fetched, by their names.
        workers: Processes that look at pictures; by default one a core.
        near_duplicates: Whether to look for pictures that are nearly the same in several splits.
    """

    def __init__(
        self,
        source: str,
        *,
        layout: str,
        labels: Path | None,
        split_by: str,
        keep_unknown: bool,
        link: Link,
        checksums: Mapping[str, str],
        workers: int | None,
        near_duplicates: bool,
    ) -> None:
        self.source = source
        self.layout = layout
        self.labels = labels
        self.split_by = split_by
        self.keep_unknown = keep_unknown
        self.link = link
        self.checksums = checksums
        self.workers = workers
        self.near_duplicates = near_duplicates

    def write(self, out: Path) -> None:
        """Make the data set, unless it is there; what was interrupted goes on.

        Raises:
            ImpastoError: If the source is missing, empty or something else, or the disk is too small.
        """
        recipe = {
            "source": self.source, "layout": self.layout, "labels": None if self.labels is None else str(self.labels),
            "split_by": self.split_by, "keep_unknown": self.keep_unknown,
        }  # fmt: skip
        with staged(out, recipe) as folder:
            if folder is None:
                return
            known = {} if self.labels is None else read_labels(self.labels, self.split_by)
            source = self._source(folder)
            works = self._works(source)
            kept = [work for work in works if work.artist or self.keep_unknown]
            if not kept:
                raise ImpastoError(f"No painter of the {len(works)} paintings is known: --keep-unknown takes them.")
            places = dict(named_apart(kept))
            self._bring(source, places, folder)
            facts = self._describe(folder, places, known)
            facts["counts"] |= {
                "artists": len({PurePosixPath(name).parent for name in places}),
                "unknown_artist_left_out": len(works) - len(kept),
                "same_file_twice": len(kept) - len(places),
            }
            licences = {"not given; WikiArt's own terms hold": facts["counts"]["pictures"]}
            write_manifest(folder / MANIFEST, {"data": "WikiArt", "recipe": recipe, **facts, "licences": licences})

    def _source(self, folder: Path) -> Path:
        if not is_address(self.source):
            return Path(self.source)
        name = PurePosixPath(urlsplit(self.source).path).name or "source"
        return fetch(self.source, folder / DOWNLOADS / name, checksum=self.checksums.get(name, ""))

    def _works(self, source: Path) -> list[Work]:
        try:
            return works_of(source, self.layout)
        except WrongArchiveError:
            if is_address(self.source):
                source.unlink()  # else the same command would never fetch another one
            raise

    def _bring(self, source: Path, places: dict[str, Work], folder: Path) -> None:
        """Put every painting into place."""
        members = {name: work.origin for name, work in places.items() if isinstance(work.origin, zipfile.ZipInfo)}
        files = {name: work.origin for name, work in places.items() if isinstance(work.origin, Path)}
        rows: dict[tuple[Path, int], dict[int, str]] = defaultdict(dict)
        for name, work in places.items():
            if isinstance(work.origin, tuple):
                rows[work.origin[:2]][work.origin[2]] = name
        size = sum(member.file_size for member in members.values())
        size += sum(path.stat().st_size for path in {origin[0] for origin in rows})
        size += sum(path.stat().st_size for path in files.values()) if self.link == "copy" else 0
        require_space(folder, size, f"Taking {len(places)} paintings from {source}")
        for name, path in files.items():
            place(path, folder / name, self.link)
        if members:
            _unpack(source, members, folder)
        for (path, group), names in rows.items():
            _write_rows(path, group, names, folder)

    def _describe(self, folder: Path, places: dict[str, Work], known: dict[str, Label]) -> dict[str, Any]:
        told = {name: known.get(work.key, Label()) for name, work in places.items()}
        splits = held_out(folder, list(places)) if not known else {n: told[n].split or "train" for n in places}
        labels = {
            name: (work.artist or told[name].artist, work.style or told[name].style, work.genre or told[name].genre)
            for name, work in places.items()
        }
        facts = describe(
            folder, splits, labels, ("artist", "style", "genre"),
            workers=self.workers, near_duplicates=self.near_duplicates,
        )  # fmt: skip
        if known:
            facts["counts"]["not_in_the_labels"] = sum(work.key not in known for work in places.values())
        return facts


def held_out(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the split that training gives to each painting where no table does."""
    by_artist: dict[str, list[Painting]] = defaultdict(list)
    for path in sorted(folder / name for name in names):
        by_artist[artist_name(path.parent.name).casefold()].append(Painting(path, "", ""))
    splits: dict[str, str] = {}
    for works in by_artist.values():
        for split, part in zip(("train", "val"), hold_out(works, HOLDOUT), strict=True):
            for work in part:
                splits.setdefault(cast(Path, work.path).relative_to(folder).as_posix(), split)
    return splits


def _unpack(source: Path, members: Mapping[str, zipfile.ZipInfo], folder: Path) -> None:
    with opened(source) as archive, work_progress(f"Unpacking {source.name}") as bar:
        task = bar.add_task("", total=len(members))
        for name, member in members.items():
            extract(archive, member, folder / name)
            bar.update(task, advance=1, refresh=True)


def _write_rows(path: Path, group: int, names: Mapping[int, str], folder: Path) -> None:
    """Write the pictures of a row group; those without bytes are left for the list of failures."""
    if all((folder / name).is_file() for name in names.values()):
        return
    images = extra("pyarrow.parquet").ParquetFile(path).read_row_group(group, columns=["image"])["image"]
    for row, name in names.items():
        picture = images[row].as_py() or {}
        write_atomically(folder / name, picture.get("bytes") or b"")
