"""Which content and which style belong to a stylised picture: by file name, or as a CSV file says."""

import csv
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from datamodules.images import list_images
from datamodules.sources import artist_name
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import composed, find_file, identity

PICTURES = ("stylized", "content", "style")
WORDS = ("artist", "prompt", "clip", "frame")
Index = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Pair:
    """A stylised picture and what it was made from; what is not known is None.

    Attributes:
        stylized: The picture.
        content: What it shows.
        style: What it was painted after.
        artist: Whose manner it should have.
        prompt: The style in words.
        clip: The video that it is a frame of.
        frame: Its number there.
        truth: The picture that it should be.
        mask: A grey picture, bright where it was to be painted.
    """

    stylized: Path
    content: Path | None = None
    style: Path | None = None
    artist: str | None = None
    prompt: str | None = None
    clip: str | None = None
    frame: int | None = None
    truth: Path | None = None
    mask: Path | None = None


def check_folder(folder: Path | None, option: str) -> None:
    """Refuse what is no folder.

    Args:
        folder: As the user gave it; None where nothing was given.
        option: Where it was given.

    Raises:
        ImpastoError: If it is a file, or nothing.
    """
    if folder is None or folder.is_dir():
        return
    if folder.exists():
        raise ImpastoError(f"{option} {folder} is a file, a folder is needed: give the folder that it lies in.")
    raise ImpastoError(f"The folder {folder} does not exist: check the path.")


def files_of(pairs: Sequence[Pair]) -> set[Path]:
    """Return all pictures that the pairs name."""
    return {path for pair in pairs for path in (pair.stylized, pair.content, pair.style) if path is not None}


def pairs_by_name(stylized: Path, content: Path | None, style: Path | None) -> list[Pair]:
    """Pair by file name: ``a.png`` goes with content ``a`` and style ``a``, ``a_b.png`` and ``a__b.png`` with ``b``.

    Suffixes do not matter, and a name may repeat the content's suffix (``a.gif.png``). A style folder with one picture,
    or a style that is a file, goes with all. The artist is the folder of the style inside ``style``, or else of the
    picture inside ``stylized``; the clip is the latter folder, and its frames are numbered in the order of their names.

    Args:
        stylized: Folder of stylised pictures.
        content: Folder of contents; None where no metric asks for them.
        style: Folder of styles, or one picture; None where no metric asks for them.

    Returns:
        One pair for every stylised picture, sorted by path.

    Raises:
        ImpastoError: If a folder holds no picture, or a picture has no partner, or several.
    """
    pictures = list_images(stylized)
    contents = None if content is None else _index(content)
    styles = None if style is None or style.is_file() else _index(style)
    one = _only_style(style, styles)
    found, alone = [], []
    for path in pictures:
        meanings = (set(_matches(name, contents, None if one else styles)) for name in _names(path, stylized))
        choices = next(filter(None, meanings), set())
        if len(choices) > 1:
            raise ImpastoError(
                f"{path} could have been made from {len(choices)} pairs of content and style by its name: name it "
                "<content>__<style>, or give --pairs."
            )
        if not choices:
            alone.append(path)
            continue
        (match,) = choices
        found.append(Pair(path, match[0], one or match[1]))
    if alone:
        raise ImpastoError(_lonely(alone, len(pictures), content, None if one else style))
    return _with_folders(found, stylized, style)


def pairs_from_csv(path: Path, stylized: Path, content: Path | None, style: Path | None) -> list[Pair]:
    """Pair as a CSV file says.

    Of the columns stylized, content, style, artist, prompt, clip and frame only the first must be there. Files are
    relative to their folders (``--stylized`` and so on), or absolute.

    Raises:
        ImpastoError: If the file cannot be read, has no rows, lacks the column or names a picture that is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImpastoError(f"The pairs {path} cannot be read ({reason}): give a CSV file.") from error
    known = {*PICTURES, *WORDS}
    if "stylized" not in columns or set(columns) - known:
        raise ImpastoError(
            f"The pairs {path} have the columns {', '.join(map(str, columns)) or 'none'}: there must be stylized, and "
            f"there may be {', '.join(sorted(known - {'stylized'}))}."
        )
    if not rows:
        raise ImpastoError(f"The pairs {path} hold no row below their header.")
    folders = {"stylized": stylized, "content": content, "style": style}
    return _with_folders([_row(row, number, path, folders) for number, row in enumerate(rows, 2)], stylized, style)


def require(pairs: Sequence[Pair], field: str, metric: str) -> None:
    """Refuse pairs that lack what a metric needs.

    Raises:
        ImpastoError: If the field is None in any of them.
    """
    missing = sum(getattr(pair, field) is None for pair in pairs)
    if not missing:
        return
    remedy = {
        "content": "give --content DIR",
        "style": "give --style DIR",
        "artist": "give --pairs with a column artist, or put the styles into one folder per artist",
        "prompt": "give --pairs with a column prompt, or put the styles into one folder per artist",
        "clip": "give --pairs with the columns clip and frame",
        "truth": "choose a protocol that knows it, such as procedural",
        "mask": "choose a protocol of regions, such as least",
    }[field]
    count = f"{missing} of {len(pairs)} have none"
    raise ImpastoError(f"{metric} needs the {field} of every picture, and {count}: {remedy}.")


def _index(folder: Path) -> Index:
    """Return the pictures of a folder by every name that they may be called by."""
    index: dict[str, dict[Hashable, Path]] = defaultdict(dict)
    for path in list_images(folder, aliases=True):  # a name is what is searched, wherever it leads
        own = identity(path) if path.exists() else path
        for name in _names(path, folder):
            index[name].setdefault(own, path)
    return {name: list(paths.values()) for name, paths in index.items()}


def _names(path: Path, root: Path) -> list[str]:
    inside = path.relative_to(root)
    return list(dict.fromkeys(map(composed, (inside.with_suffix("").as_posix(), path.stem, path.name))))


def _only_style(style: Path | None, styles: Index | None) -> Path | None:
    if styles is None:
        return style
    paths = list(chain.from_iterable(styles.values()))
    return paths[0] if len({identity(path) if path.exists() else path for path in paths}) == 1 else None


def _matches(name: str, contents: Index | None, styles: Index | None) -> list[tuple[Path | None, Path | None]]:
    """Return what a name can mean: the same name on both sides, else a split at ``__``, else one at ``_``."""
    splits = [(name[: cut.start()], name[cut.end() :], cut.end() - cut.start()) for cut in re.finditer("_+", name)]
    spellings = (
        [(name, name)],
        [(left, right) for left, right, length in splits if length == 2],
        [(left, right) for left, right, length in splits if length == 1],
    )
    for spelling in spellings:
        found = [
            (content, style)
            for left, right in spelling
            for content in _partners(contents, left)
            for style in _partners(styles, right)
        ]
        if found:
            return found
    return []


def _partners(index: Index | None, name: str) -> Sequence[Path | None]:
    return (None,) if index is None else index.get(name, ())


def _lonely(alone: Sequence[Path], total: int, content: Path | None, style: Path | None) -> str:
    wanted = " and ".join(
        f"{kind} in {folder}" for kind, folder in (("content", content), ("style", style)) if folder is not None
    )
    return (
        f"{len(alone)} of {total} stylised pictures have no {wanted} by their name, first {alone[0]}: name them like "
        "the content or <content>_<style>, or give --pairs."
    )


def _row(row: Mapping[str, str | None], number: int, path: Path, folders: Mapping[str, Path | None]) -> Pair:
    values = {key: (value or "").strip() or None for key, value in row.items() if key is not None}
    files = {kind: _file(values.get(kind), folders[kind]) for kind in PICTURES}
    for kind, file in files.items():
        if file is not None and not file.is_file():
            raise ImpastoError(f"Line {number} of {path} names the {kind} {file}, which is not there.")
    stylized = files["stylized"]
    if stylized is None:
        raise ImpastoError(f"Line {number} of {path} names no stylised picture.")
    frame = values.get("frame")
    if frame is not None and not frame.isdecimal():
        raise ImpastoError(f"Line {number} of {path} has the frame {frame!r}, which is no number.")
    return Pair(
        stylized,
        files["content"],
        files["style"],
        artist=values.get("artist"),
        prompt=values.get("prompt"),
        clip=values.get("clip"),
        frame=None if frame is None else int(frame),
    )


def _file(name: str | None, folder: Path | None) -> Path | None:
    if name is None:
        return None
    return find_file(folder / name if folder is not None and folder.is_dir() else Path(name))


def _with_folders(pairs: Sequence[Pair], stylized: Path, style: Path | None) -> list[Pair]:
    """Fill in what the folders say: artist, prompt, clip and frame."""
    frames: dict[str, int] = defaultdict(int)
    filled = []
    for pair in pairs:
        artist = pair.artist or _folder(pair.style, style) or _folder(pair.stylized, stylized)
        clip = pair.clip or pair.stylized.parent.as_posix()
        frame = frames[clip] if pair.frame is None else pair.frame
        frames[clip] = frame + 1
        filled.append(replace(pair, artist=artist, prompt=pair.prompt or artist, clip=clip, frame=frame))
    return filled


def _folder(path: Path | None, root: Path | None) -> str | None:
    if path is None or root is None or not path.is_relative_to(root):
        return None
    parents = path.relative_to(root).parts[:-1]
    return artist_name(parents[0]) if parents else None
