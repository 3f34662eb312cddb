"""The finished shards: every picture once, in a fixed order, so that the same pictures make the same bytes."""

from __future__ import annotations

import csv
import hashlib
import json
import tarfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.public_data.checking import GOOD, is_picture, read_member
from experiments.public_data.extras import extra
from experiments.public_data.manifest import Hashed
from experiments.public_data.workplace import Workplace, read_table, write_table
from lightning_modules.files import replacing, write_atomically

if TYPE_CHECKING:
    from pyarrow import Table

FAILURES = "failures.csv"
REPEATED = "duplicate"
LICENCE = frozenset({"licence", "license"})


class Finished(NamedTuple):
    """A shard to write, with the pictures that an earlier one holds: their keys, and the keys of the earlier ones."""

    place: Workplace
    number: int
    repeated: dict[str, str]


def repeated_pictures(place: Workplace) -> dict[int, dict[str, str]]:
    """Find pictures that are the same byte for byte; the first of the list stays, whatever came first.

    Returns:
        For each shard, the key of each repetition and the key of what it repeats.
    """
    first: dict[bytes, str] = {}
    repeated: dict[int, dict[str, str]] = {shard: {} for shard in place.shards()}
    for shard, known in repeated.items():
        table = read_table(place.checked(shard), columns=["key", "status", "sha256"])
        for row in table.to_pylist():
            if row["status"] == GOOD and first.setdefault(bytes.fromhex(row["sha256"]), row["key"]) != row["key"]:
                known[row["key"]] = first[bytes.fromhex(row["sha256"])]
    return repeated


def write_shard(finished: Finished) -> str:
    """Write a shard's pictures, table and statistics in img2dataset's layout, each whole or not at all.

    Returns:
        SHA-256 of the tar.
    """
    place, number = finished.place, finished.number
    name = f"{number:05d}"
    table = _marked(read_table(place.checked(number)), finished.repeated)
    rows = table.to_pylist()
    target = place.out / f"{name}.tar"
    if place.raw(number).is_file():
        with tarfile.open(place.raw(number)) as archive, replacing(target) as temporary:
            _write_tar(archive, temporary, sorted((r for r in rows if r["status"] == GOOD), key=lambda row: row["key"]))
    write_table(table, place.out / f"{name}.parquet")
    statuses = Counter(row["error_message"] or row["status"] for row in rows)
    stats = {
        "count": len(rows),
        "successes": statuses[GOOD],
        "failed_to_download": sum(row["status"] == "failed_to_download" for row in rows),
        "failed_to_resize": sum(row["status"] in {"failed_to_decode", "too_small"} for row in rows),
        "status_dict": dict(sorted(statuses.items())),
    }
    write_atomically(place.out / f"{name}_stats.json", json.dumps(stats, indent=4))
    return sha256_of(target)


def _marked(table: Table, repeated: dict[str, str]) -> Table:
    pa = extra("pyarrow")
    keys = table["key"].to_pylist()
    for column, mark in (("status", lambda _: REPEATED), ("error_message", lambda key: f"the same as {repeated[key]}")):
        values = table[column].to_pylist()
        marked = [mark(key) if key in repeated else value for key, value in zip(keys, values, strict=True)]
        table = table.set_column(table.column_names.index(column), column, pa.array(marked, pa.string()))
    return table


def _write_tar(archive: tarfile.TarFile, path: Path, rows: list[dict[str, Any]]) -> None:
    members = {Path(member.name).stem: member for member in archive if is_picture(member)}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as target:
        for row in rows:
            member = members[row["key"]]
            _add(target, member.name, read_member(archive, member))
            _add(target, f"{row['key']}.json", json.dumps(row, indent=4, sort_keys=True).encode())


def _add(target: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no owner and no time: the same pictures are the same file
    info.size = len(data)
    target.addfile(info, BytesIO(data))


def write_failures(place: Workplace, unusable: list[tuple[str, str]]) -> Counter[str]:
    """Write every address without a picture, its list and the reason, and return how often each reason is."""
    reasons: Counter[str] = Counter()
    columns = ["url", "list", "status", "error_message"]
    with (
        replacing(place.out / FAILURES) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["url", "list", "reason"])
        for shard in place.shards():
            rows = read_table(place.checked(shard), columns=columns).to_pylist()
            failed = [row for row in rows if row["status"] not in {GOOD, REPEATED}]
            table.writerows([row["url"], row["list"], row["error_message"]] for row in failed)
            reasons.update(row["error_message"] for row in failed)
        table.writerows([url, name, "no http address"] for url, name in unusable)
    if unusable:
        reasons["no http address"] += len(unusable)
    return reasons


class Summary(NamedTuple):
    """What finished shards hold.

    Attributes:
        statuses: How often each status is.
        licences: The same of the pictures' licences.
        kept: Pictures of each shard.
        pictures: Every picture, in order.
    """

    statuses: Counter[str]
    licences: Counter[str]
    kept: Counter[int]
    pictures: list[Hashed]


def summary(place: Workplace) -> Summary:
    """Count what the tables of finished shards say; a picture's split is what its list says, or else its list."""
    whole = Summary(Counter(), Counter(), Counter(), [])
    for number in place.shards():
        table = read_table(place.out / f"{number:05d}.parquet")
        licence = next((name for name in table.column_names if name.casefold() in LICENCE), "")
        split = "split" if "split" in table.column_names else "list"
        for row in table.to_pylist():
            whole.statuses[row["status"]] += 1
            if row["status"] == GOOD:
                whole.kept[number] += 1
                whole.licences[row.get(licence) or "not given"] += 1
                whole.pictures.append(Hashed(row["key"], row[split] or "", row["phash"]))
    return whole


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
