"""Write ProceduralArt to disk in the layout of WikiArt, in parallel, resumable, the same bytes for the same seed."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from datamodules.procedural.brushes import Floats
from datamodules.procedural.contents import SPLITS, Content, Split, content, contents, generator
from datamodules.procedural.painters import PAINTERS
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

VERSION = 2  # raise it when a painter or a scene changes its look: older folders are then painted afresh
DEFAULT_COUNTS: dict[str, int] = {"train": 96, "val": 12, "test": 12}
_CHUNK = 2  # contents a task: long enough to amortise the hand-over, short enough for an even finish


def paint(picture: Content, artist: str, seed: int) -> Floats:
    """Return the artist's painting of a content, as ``generate`` writes it.

    Args:
        picture: The content.
        artist: A key of ``PAINTERS``.
        seed: Seed of the data set.

    Returns:
        ``(H, W, 3)`` float32 in [0, 1].
    """
    return PAINTERS[artist].paint(picture.image, generator(seed, "painting", picture.title, artist))


def generate(
    root: Path,
    *,
    size: int = 256,
    contents_per_split: Mapping[str, int] | None = None,
    seed: int = 0,
    workers: int | None = None,
    quiet: bool = False,
) -> Path:
    """Paint the whole data set, or return at once where it is already there.

    Writes ``<split>/contents/<title>.png``, ``<split>/contents.csv`` (file, caption),
    ``<split>/paintings/<artist>/<title>.png`` and ``<split>/paintings.csv`` (file, artist, title, style, caption);
    files are relative to the split's folder. ``recipe.json`` comes first and ``meta.json`` last, so a folder without
    the latter is unfinished: the next call paints what is missing. A folder of another recipe is painted afresh.

    Args:
        root: Folder to write.
        size: Height and width in pixels, at least 16.
        contents_per_split: How many contents each split has, every one painted by every artist; by default 96, 12, 12.
        seed: Seed of the data set; every picture depends on it and its own name only.
        workers: Processes; by default the number of usable cores.
        quiet: Whether to hide the progress bar; it is hidden anyway where stderr is no terminal.

    Returns:
        ``root``.

    Raises:
        ImpastoError: If a setting is out of range, or the folder holds something else.
    """
    asked = DEFAULT_COUNTS if contents_per_split is None else contents_per_split
    unknown = sorted(set(asked) - set(SPLITS))
    if unknown:
        raise ImpastoError(f"ProceduralArt has the splits {', '.join(SPLITS)}: there is no {unknown[0]!r}.")
    counts = {split: int(asked.get(split, 0)) for split in SPLITS}
    for split in SPLITS:
        next(contents(split, counts[split], size, seed), None)  # raises on settings that are out of range
    recipe: dict[str, Any] = {
        "dataset": "ProceduralArt", "version": VERSION, "seed": seed, "size": size, "contents": counts,
        "artists": list(PAINTERS),
    }  # fmt: skip
    root = Path(root)
    if read_json(root / "meta.json") == recipe:
        return root
    _prepare(root, recipe)
    _paint_all(root, recipe, workers or _usable_cores(), quiet)
    write_atomically(root / "meta.json", json.dumps(recipe, indent=2).encode())
    return root


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _prepare(root: Path, recipe: dict[str, Any]) -> None:
    """Make the folders; what another recipe left there is removed, what somebody else left there is not."""
    if read_json(root / "recipe.json") != recipe:
        ours = (root / "recipe.json").is_file()
        if root.exists() and not ours and (not root.is_dir() or any(root.iterdir())):
            raise ImpastoError(f"{root} holds something other than ProceduralArt: choose another folder with --out.")
        (root / "meta.json").unlink(missing_ok=True)
        for split in SPLITS:
            shutil.rmtree(root / split, ignore_errors=True)
    for split in SPLITS:
        for folder in ("contents", *(f"paintings/{artist}" for artist in PAINTERS)):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
    write_atomically(root / "recipe.json", json.dumps(recipe, indent=2).encode())


def _paint_all(root: Path, recipe: dict[str, Any], workers: int, quiet: bool) -> None:
    counts: dict[Split, int] = recipe["contents"]
    jobs = [
        (root, split, range(start, min(start + _CHUNK, counts[split])), recipe["size"], recipe["seed"])
        for split in SPLITS
        for start in range(0, counts[split], _CHUNK)
    ]
    captions: dict[Split, dict[int, tuple[str, str]]] = {split: {} for split in SPLITS}
    # Workers use numpy alone, which survives a fork; spawning would import torch anew in each of them.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("Painting ProceduralArt"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=quiet or not console.is_terminal,
        auto_refresh=False,  # its thread must not be alive when workers fork
    )  # fmt: skip
    with ProcessPoolExecutor(max_workers=max(1, min(workers, len(jobs))), mp_context=context) as pool, bar:
        task = bar.add_task("", total=sum(counts.values()))
        futures: dict[Future[list[tuple[str, str]]], tuple[Split, range]] = {
            pool.submit(_paint_some, *job): (job[1], job[2]) for job in jobs
        }
        for future in as_completed(futures):
            split, indices = futures[future]
            captions[split].update(zip(indices, future.result(), strict=True))
            bar.update(task, advance=len(indices), refresh=True)
    for split in SPLITS:
        _write_tables(root / split, [captions[split][index] for index in sorted(captions[split])])


def _paint_some(root: Path, split: Split, indices: range, size: int, seed: int) -> list[tuple[str, str]]:
    """Write the missing pictures of some contents; return their titles and captions."""
    done = []
    for index in indices:
        picture = content(split, index, size, seed)
        done.append((picture.title, picture.caption))
        name = f"{picture.title}.png"
        _write_png(root / split / "contents" / name, picture.image)
        # The painter sees what the file holds, eight bits, so that truth can be recomputed from the written content.
        seen = picture._replace(image=_eight_bits(picture.image).astype(np.float32) / np.float32(255))
        for artist in PAINTERS:
            target = root / split / "paintings" / artist / name
            if not target.is_file():
                _write_png(target, paint(seen, artist, seed))
    return done


def _eight_bits(image: Floats) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _write_png(path: Path, image: Floats) -> None:
    if path.is_file():
        return
    buffer = io.BytesIO()
    Image.fromarray(_eight_bits(image)).save(buffer, "PNG", compress_level=2)  # level 6 takes as long as the painting
    write_atomically(path, buffer.getvalue())


def _write_tables(folder: Path, rows: list[tuple[str, str]]) -> None:
    plain = [{"file": f"contents/{title}.png", "caption": caption} for title, caption in rows]
    painted = [
        {
            "file": f"paintings/{artist}/{title}.png",
            "artist": artist,
            "title": title,
            "style": painter.style,
            "caption": f"{caption.replace('a photo of', 'a painting of', 1)}, {painter.style} by {artist}",
        }
        for artist, painter in PAINTERS.items()
        for title, caption in rows
    ]
    _write_table(folder / "contents.csv", ["file", "caption"], plain)
    _write_table(folder / "paintings.csv", ["file", "artist", "title", "style", "caption"], painted)


def _write_table(path: Path, fields: list[str], rows: list[dict[str, str]]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fields, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; None where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
