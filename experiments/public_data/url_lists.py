"""Lists of addresses, as text, tables or parquet, read into one table in which every address is once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urldefrag

from experiments.public_data.checking import COLUMNS
from experiments.public_data.extras import extra
from lightning_modules.errors import ImpastoError

if TYPE_CHECKING:
    from pyarrow import Table

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (".txt", *DELIMITERS, ".parquet")
RESERVED = frozenset({"url", "list", *COLUMNS})  # what the table of a shard says itself


class Addresses(NamedTuple):
    """What lists hold.

    Attributes:
        table: Columns ``url``, ``list`` (the file's name) and what else the lists have, all text.
        repeated: How many lines repeat an address.
        unusable: Addresses that are none of the web, as ``url`` and ``list``.
    """

    table: Table
    repeated: int
    unusable: list[tuple[str, str]]


def read_lists(paths: Sequence[Path], column: str = "url") -> Addresses:
    """Read lists; of lines with the same address the first one counts.

    Args:
        paths: Text files with an address a line, or CSV, TSV and parquet files; all but parquet may be gzipped.
        column: Of the addresses in tables, in any letter case.

    Raises:
        ImpastoError: If a list is missing, damaged or of another kind, or there is no address.
    """
    pa = extra("pyarrow")
    tables = [_read(path, column) for path in paths]
    whole = pa.concat_tables(tables, promote_options="default")
    kept, repeated, unusable, seen = [], 0, [], set[bytes]()
    urls, lists = whole["url"].to_pylist(), whole["list"].to_pylist()
    for position, url in enumerate(urls):
        digest = hashlib.blake2b(url.encode(), digest_size=12).digest()
        if digest in seen:
            repeated += 1
        elif not url.startswith(("http://", "https://")):  # a file:// address would be read from this machine
            unusable.append((url, lists[position]))
        else:
            kept.append(position)
        seen.add(digest)
    if not kept:
        raise ImpastoError(f"There is no http address in {', '.join(map(str, paths))}: check the lists.")
    return Addresses(whole.take(kept), repeated, unusable)


def _read(path: Path, column: str) -> Table:
    pa = extra("pyarrow")
    if not path.is_file():
        raise ImpastoError(f"The list {path} does not exist: check the path.")
    suffix = next((s for s in reversed(path.suffixes) if s != ".gz"), "").lower()
    if suffix not in SUFFIXES:
        raise ImpastoError(f"{path} is no list of addresses: its name should end in {', '.join(SUFFIXES)}.")
    try:
        table = _read_text(path) if suffix == ".txt" else _read_table(path, suffix)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise ImpastoError(f"{path} is damaged or not what its name says ({reason}): take another one.") from error
    return _named(table, path, "url" if suffix == ".txt" else column)


def _read_text(path: Path) -> Table:
    pa = extra("pyarrow")
    with pa.input_stream(str(path)) as file:
        lines = [line.strip() for line in file.read().decode("utf-8-sig").splitlines()]
    return pa.table({"url": pa.array([line for line in lines if line and not line.startswith("#")], pa.string())})


def _read_table(path: Path, suffix: str) -> Table:
    if suffix == ".parquet":
        return extra("pyarrow.parquet").read_table(path)
    csv = extra("pyarrow.csv")
    how = {"parse_options": csv.ParseOptions(delimiter=DELIMITERS[suffix], newlines_in_values=True)}
    with csv.open_csv(path, **how) as first:
        names = first.schema.names
    types = dict.fromkeys(names, extra("pyarrow").string())  # a licence "4.0" is no number
    return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types), **how)


def _named(table: Table, path: Path, column: str) -> Table:
    """Return the table with its addresses as ``url``, all else as text, and where it comes from."""
    pa = extra("pyarrow")
    found = next((name for name in table.column_names if name.casefold() == column.casefold()), None)
    if found is None:
        raise ImpastoError(
            f"{path} has no column '{column}' but {', '.join(table.column_names)}: name that of the addresses with "
            "--url-column."
        )
    urls = [urldefrag(url.strip()).url if url else "" for url in table[found].cast(pa.string()).to_pylist()]
    columns: dict[str, Any] = {"url": pa.array(urls, pa.string())}
    columns["list"] = pa.array([path.name] * len(urls), pa.string())
    for name in table.column_names:
        if name != found and not pa.types.is_nested(table.schema.field(name).type):
            columns[f"list_{name}" if name in RESERVED else name] = table[name].cast(pa.string())
    return pa.table(columns)
