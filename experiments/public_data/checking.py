"""Looking at what servers sent: is it a picture, whole and large enough, and which one is it?"""

from __future__ import annotations

import hashlib
import re
import tarfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image, UnidentifiedImageError

import datamodules.image_formats  # noqa: F401  sets the limits of Pillow
from experiments.public_data.extras import extra
from experiments.public_data.near_duplicates import perceptual_hash
from experiments.public_data.workplace import Workplace, read_table, write_table

if TYPE_CHECKING:
    from pyarrow import Table

TRUNCATED = "cut off"
REASONS = {
    r"HTTP Error (\d+): ?(.*)": r"HTTP \1 \2",
    r"timed out": "timed out",
    r"IncompleteRead|bytes read": TRUNCATED,
    r"X-Robots-Tag": "its server forbids the use (X-Robots-Tag)",
    r"Name or service not known|getaddrinfo|name resolution|nodename": "no such server",
    r"Connection refused": "its server refuses",
    r"Connection reset|RemoteDisconnected|closed connection without|Broken pipe": "its server hung up",
    r"(?i)certificate|SSL": "no valid certificate",
}
"""What img2dataset says, without numbers that differ from one try to the next."""

GOOD = "success"  # img2dataset's word
LOST = "lost by img2dataset"
COLUMNS = ("key", "status", "error_message", "width", "height", "format", "bytes", "sha256", "phash")
NUMBERS = frozenset({"width", "height", "bytes"})

Found = dict[str, Any]


class Shard(NamedTuple):
    """A shard to look at, with the least length of a picture's shorter side, in pixels."""

    place: Workplace
    number: int
    min_side: int


def check_shard(shard: Shard) -> bool:
    """Write down what became of every address of a shard.

    Returns:
        Whether what was fetched can be read; if not, it is to be fetched again.
    """
    place, number = shard.place, shard.number
    try:
        with tarfile.open(place.raw(number)) as archive:
            pictures = {
                Path(m.name).stem: look_at(read_member(archive, m), shard.min_side) for m in archive if is_picture(m)
            }
    except tarfile.ReadError:
        return False
    fetched = read_table(place.fetched(number))
    told = {row["url"]: row for row in fetched.to_pylist()}
    table = place.rows(number)
    rows = [_outcome(told.get(url), pictures) for url in table["url"].to_pylist()]
    write_table(_with(table, rows), place.checked(number))
    return True


def is_picture(member: tarfile.TarInfo) -> bool:
    """Tell whether a member of a shard is what a server sent; others describe it."""
    return member.isfile() and not member.name.endswith(".json")


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return the bytes of a member.

    Raises:
        tarfile.ReadError: If the archive is cut off.
    """
    file = archive.extractfile(member)
    data = b"" if file is None else file.read()
    if len(data) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def look_at(data: bytes, min_side: int) -> Found:
    """Decode a picture and return what it is, or why it is none that can be used."""
    found: Found = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()
            found |= {"format": image.format, "width": image.width, "height": image.height}
            found["phash"] = f"{perceptual_hash(image):016x}"
    except UnidentifiedImageError:
        return _failed("not a picture")
    except Image.DecompressionBombError:
        return _failed("more pixels than are read")
    except Exception as error:  # of damaged files, decoders complain in every way there is
        return _failed(TRUNCATED if "truncated" in str(error).casefold() else "damaged")
    if min(found["width"], found["height"]) < min_side:
        return found | {"status": "too_small", "error_message": f"its shorter side has less than {min_side} pixels"}
    return found | {"status": GOOD}


def _failed(reason: str) -> Found:
    return {"status": "failed_to_decode", "error_message": reason}


def _outcome(told: Found | None, pictures: dict[str, Found]) -> Found:
    """Join what img2dataset tells of an address with what its picture looks like."""
    if told is None:
        return {"status": "failed_to_download", "error_message": LOST}
    if told["status"] != GOOD:
        reason = plain(told["error_message"] or "no reason given")
        return {"key": told["key"], "status": "failed_to_download", "error_message": reason}
    return {"key": told["key"]} | pictures.get(told["key"], {"status": "failed_to_download", "error_message": LOST})


def plain(message: str) -> str:
    """Return a reason that is the same at every try.

    Examples:
        >>> plain("IncompleteRead(2048 bytes read, 1000 more expected)")
        'cut off'
        >>> plain("HTTP Error 404: Not Found")
        'HTTP 404 Not Found'
    """
    for pattern, reason in REASONS.items():
        if found := re.search(pattern, message):
            return found.expand(reason).strip()
    return message.partition("\n")[0]


def _with(table: Table, rows: list[Found]) -> Table:
    pa = extra("pyarrow")
    types = {name: pa.int64() if name in NUMBERS else pa.string() for name in COLUMNS}
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in types.items()}
    return pa.table(columns | {name: table[name] for name in table.column_names})
