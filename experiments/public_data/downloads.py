"""Files of a web server: fetched in as many pieces as it takes, checked, and only then given their name."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from experiments.public_data.disk import require_space
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

TIMEOUT = 30.0  # seconds without an answer, or without more of one
RETRIES = 5
_PAUSE = 1.0  # seconds before the first retry; each next one waits twice as long
_PIECE = 2**20
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Begun(NamedTuple):
    """What a server says of the file that it sends, so that the rest of another file is not appended to it."""

    length: int
    tag: str
    checksums: dict[str, str]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Remembers what Hugging Face says of a large file where it sends to the server that has it: its SHA-256."""

    linked = ""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Follow, as ever."""
        self.linked = (headers.get("X-Linked-ETag") or self.linked).strip('"')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_address(source: str) -> bool:
    """Tell an address of the web from a path."""
    return source.startswith(("http://", "https://"))


def fetch(url: str, path: Path, *, checksum: str = "", pause: float = _PAUSE) -> Path:
    """Fetch a file, or what is missing of it; until it is whole and checked it is called ``NAME.part``.

    Args:
        url: Its address.
        path: Where it will be.
        checksum: Its MD5 or SHA-256 in hexadecimal digits; beside it, those that the server gives are looked at.
        pause: Seconds before the first retry.

    Returns:
        ``path``.

    Raises:
        ImpastoError: If the server refuses, does not answer, or sends something else, or the disk is too small.
    """
    if path.is_file():
        _check(path, url, _given(checksum), keep=True)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    for attempt in range(RETRIES + 1):
        try:
            begun = _continue(url, part)
            break
        except (OSError, http.client.HTTPException) as error:
            if attempt == RETRIES or not _passes(error):
                raise ImpastoError(_refused(url, error)) from error
            time.sleep(pause * 2**attempt)
    _check(part, url, begun.checksums | _given(checksum), keep=False)
    part.replace(path)
    _notes(part).unlink(missing_ok=True)
    return path


def _continue(url: str, part: Path) -> _Begun:
    """Fetch what is missing, and return what the server says of the whole."""
    known = _known(part)
    start = part.stat().st_size if part.is_file() and known is not None else 0
    if known is not None and start == known.length:
        return known
    headers = {"User-Agent": "impasto", "Accept-Encoding": "identity"}
    if start and known is not None:
        headers |= {"Range": f"bytes={start}-", "If-Range": known.tag}
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects)
    with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:  # noqa: S310
        if answer.status != http.client.PARTIAL_CONTENT:
            start = 0
            known = _Begun(int(answer.headers.get("Content-Length") or -1), *_said(answer.headers, redirects.linked))
            require_space(part.parent, known.length, f"{url}")
            _remember(part, known)
        elif known is None or not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise ImpastoError(f"{url} cannot be fetched, because its server sends other pieces than it is asked for.")
        _append(answer, part, start, known.length)
    if part.stat().st_size < known.length:
        raise http.client.IncompleteRead(b"", known.length - part.stat().st_size)
    return known


def _append(answer: Any, part: Path, start: int, length: int) -> None:
    console = Console(stderr=True)
    columns = (TextColumn(part.stem), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, disable=not sys.stderr.isatty())
    with part.open("ab" if start else "wb") as file, bar:
        task = bar.add_task("", total=length if length >= 0 else None, completed=start)
        while piece := answer.read(_PIECE):
            file.write(piece)
            bar.update(task, advance=len(piece))


def _said(headers: Mapping[str, str], linked: str) -> tuple[str, dict[str, str]]:
    """Return what tells this file from its other versions, and the checksums that servers give."""
    tag = headers.get("ETag") or headers.get("Last-Modified") or ""
    checksums = {}
    for entry in (headers.get("Repr-Digest") or headers.get("Digest") or "").split(","):
        name, equals, value = entry.strip().partition("=")
        if equals and name.casefold() == "sha-256":
            checksums["sha256"] = _hexadecimal(value.strip(":"))
    if len(linked) == len(hashlib.sha256().hexdigest()):
        checksums["sha256"] = linked
    checksums["md5"] = _hexadecimal(headers.get("Content-MD5") or "")
    return "" if tag.startswith("W/") else tag, {name: value for name, value in checksums.items() if value}


def _hexadecimal(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).hex()
    except ValueError:
        return ""


def _given(checksum: str) -> dict[str, str]:
    if not checksum:
        return {}
    kinds = {32: "md5", 64: "sha256"}
    if len(checksum) not in kinds:
        raise ImpastoError(f"'{checksum}' is neither an MD5 nor a SHA-256: give 32 or 64 hexadecimal digits.")
    return {kinds[len(checksum)]: checksum.lower()}


def _check(path: Path, url: str, checksums: Mapping[str, str], *, keep: bool) -> None:
    for kind, expected in checksums.items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != expected:
            if not keep:
                path.unlink()
            raise ImpastoError(
                f"{path.name if keep else url} has the {kind} {found}, not {expected}: check the address, and "
                f"{'remove the file' if keep else 'fetch it again'}."
            )


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _known(part: Path) -> _Begun | None:
    """Return what was said of a file that is partly here; without a tag nothing tells its versions apart."""
    try:
        notes = json.loads(_notes(part).read_text(encoding="utf-8"))
        begun = _Begun(int(notes["length"]), str(notes["tag"]), dict(notes["checksums"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return begun if begun.tag and begun.length >= 0 else None


def _remember(part: Path, begun: _Begun) -> None:
    part.unlink(missing_ok=True)
    write_atomically(_notes(part), json.dumps(begun._asdict()))


def _passes(error: Exception) -> bool:
    """Tell whether a failure may be gone at the next try."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _PASSING
    refused = isinstance(error, urllib.error.URLError) and isinstance(error.reason, ConnectionRefusedError)
    return not refused and not (isinstance(error, OSError) and error.errno in _DISK)


def _refused(url: str, error: Exception) -> str:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    code = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
    return f"{url} cannot be fetched ({code}{reason}): check the address and the network; the same command goes on."


def named_checksums(words: Sequence[str]) -> dict[str, str]:
    """Read ``FILE=HEX`` words.

    Raises:
        ImpastoError: If a word is something else.
    """
    pairs = [word.rpartition("=") for word in words]
    if wrong := [word for word, (name, _, value) in zip(words, pairs, strict=True) if not name or not _given(value)]:
        raise ImpastoError(f"'{wrong[0]}' is no checksum: give it as FILE=HEX, for example train2017.zip=0123...")
    return {name: value for name, _, value in pairs}
