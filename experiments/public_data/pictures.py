"""Pictures of a data set on disk: put there by link or copy, then looked at one by one for the manifest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.public_data.checking import look_at
from experiments.public_data.manifest import Hashed, report_twins, write_csv
from experiments.public_data.pool import spread
from lightning_modules.files import replacing

Link = Literal["hard", "soft", "copy"]
TABLE = "pictures.csv"
_CHUNK = 64  # pictures a task


class Looked(NamedTuple):
    """A picture that was looked at.

    Attributes:
        name: Relative to the data set's folder.
        found: Of `look_at`.
    """

    name: str
    found: dict[str, Any]


def place(source: Path, target: Path, link: Link) -> None:
    """Put a file into a data set: as a link where that is asked for and the disks allow it, else as a copy.

    Args:
        source: The file.
        target: Where it goes; what is there stays.
        link: hard is a second name of the same file, soft leads to its path.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        if link == "soft":
            temporary.symlink_to(source.absolute())
            return
        if link == "hard":
            try:
                os.link(source.resolve(), temporary)
            except OSError:  # another disk, or one without such links
                shutil.copyfile(source, temporary)
            return
        shutil.copyfile(source, temporary)


def describe(
    folder: Path, splits: Mapping[str, str], labels: Mapping[str, Sequence[str]], columns: Sequence[str], *,
    workers: int | None, near_duplicates: bool,
) -> dict[str, Any]:  # fmt: skip
    """Look at every picture, write the table of them and of near-duplicates, and return what the manifest says.

    Args:
        folder: The data set.
        splits: The split of each picture by its name, which is relative to the folder.
        labels: What else is known of each picture.
        columns: The names of that.
        workers: Processes; by default one a core.
        near_duplicates: Whether to look for them.
    """
    names = sorted(splits)
    jobs = [(folder, tuple(names[start : start + _CHUNK])) for start in range(0, len(names), _CHUNK)]
    found = {
        looked.name: looked.found
        for _, part in spread(_look_at_some, jobs, workers=workers, title="Looking at pictures")
        for looked in part
    }
    measured = ("width", "height", "sha256", "phash", "error_message")
    rows = [[name, splits[name], *labels.get(name, ()), *(found[name].get(key) for key in measured)] for name in names]
    write_csv(folder / TABLE, ["path", "split", *columns, *measured[:-1], "failure"], rows)
    good = [name for name in names if "phash" in found[name]]
    broken = {name: found[name]["error_message"] for name in names if "phash" not in found[name]}
    facts = {
        "counts": {
            "pictures": len(good),
            "repeated_pictures": len(good) - len({found[name]["sha256"] for name in good}),
            "failed": len(broken),
            "splits": dict(Counter(splits[name] for name in good)),
        },
        "failures": broken,
        "hashes": {"file": TABLE, "all": _digest(found[name]["sha256"] for name in good)},
    }
    if near_duplicates:
        facts["near_duplicates"] = report_twins(
            folder, [Hashed(name, splits[name], found[name]["phash"]) for name in good]
        )
    return facts


def _look_at_some(job: tuple[Path, tuple[str, ...]]) -> list[Looked]:
    folder, names = job
    return [Looked(name, _look(folder / name)) for name in names]


def _look(path: Path) -> dict[str, Any]:
    try:
        return look_at(path.read_bytes(), 0)
    except OSError as error:
        return {"error_message": error.strerror or "cannot be opened"}


def _digest(hashes: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
