"""The picture matrix: what several runs have painted of the same content in the same style, side by side.

A grid of `callbacks.stylization_grid` says in its file where its pictures are. They are cut out again, and rows of
different runs are one row where content, region, style and words are the same.
"""

import base64
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from PIL import Image

from callbacks.stylization_grid import LAYOUT
from experiments.report.entries import Entry, by_protocol, variants
from experiments.report.painted import read_painted
from experiments.report.records import Evaluation
from lightning_modules.errors import ImpastoError

BUDGET = 11 * 2**20
"""Bytes of all data URIs together, so that a page stays below 15 MB."""
SIDES = (512, 384, 256, 192, 144)
"""Longest sides in pixels to try, until all pictures fit the budget."""
SHEET = 4  # a grid has about so many columns
QUALITY = 88
GIVEN = ("content", "mask", "style", "truth")
"""What a run was given, or should have painted; the rest it painted."""
SAME = ("content", "mask", "style")
"""What must be alike for two rows to be one."""


@dataclass
class Shot:
    """One picture of a row: who made it, and its data URI."""

    title: str
    image: Image.Image
    entry: Entry | None = None
    uri: str = ""


@dataclass
class Pair:
    """One row: what was to be painted, and what came of it."""

    prompt: str
    given: list[Shot]
    painted: list[Shot] = field(default_factory=list)


@dataclass
class Block:
    """Rows that the same runs have painted, and the titles of their columns."""

    titles: list[str]
    pairs: list[Pair]


@dataclass
class Gallery:
    """All pictures of a report.

    Attributes:
        blocks: Those of several runs first.
        sheets: Whole grids of runs whose file does not say where its pictures are.
        left_out: How many rows the budget did not allow.
    """

    blocks: list[Block]
    sheets: list[Shot]
    left_out: int = 0


def make_gallery(entries: Sequence[Entry], budget: int = BUDGET, quality: int = QUALITY) -> Gallery:
    """Collect the newest pictures of each entry's first run.

    Args:
        entries: The rows of the report.
        budget: Bytes that all pictures may take.
        quality: Of their JPEGs.

    Raises:
        ImpastoError: If a grid cannot be read.
    """
    pairs: dict[str, Pair] = {}
    sheets = []
    for entry in entries:
        for label, evaluation in _first_of_each(entry):
            for shown in read_painted(evaluation):
                pair = pairs.setdefault(shown.key, Pair(shown.prompt, _given(shown.given)))
                pair.painted.append(Shot(label, shown.painted, entry))
        grid = next((run.grid for run in entry.runs if run.grid), None)
        if grid is None:
            continue
        sheet, rows = read_grid(grid)
        if not rows:
            sheets.append(Shot(entry.label, sheet, entry))
        for key, given, painted, prompt in rows:
            pair = pairs.setdefault(key, Pair(prompt, _given(given)))
            pair.painted += [Shot(_title(entry, name, painted), image, entry) for name, image in painted]
    return _encoded(_blocks(pairs.values()), sheets, budget, quality)


def _given(cells: Sequence[tuple[str, Image.Image]]) -> list[Shot]:
    return [Shot(title, image) for title, image in cells]


def _first_of_each(entry: Entry) -> list[tuple[str, Evaluation]]:
    """Return one evaluation, that of the first seed, for each protocol and way to paint, with its label."""
    return [(label, alike[0]) for own in by_protocol(entry).values() for label, alike in variants(entry, own)]


Cells = list[tuple[str, Image.Image]]
Row = tuple[str, Cells, Cells, str]


def read_grid(path: Path) -> tuple[Image.Image, list[Row]]:
    """Read a grid and cut it into its pictures.

    Returns:
        The whole, and for each row a key of what was to be painted, what was given, what was painted, and the words;
        no rows where the file does not say where they are.

    Raises:
        ImpastoError: If it is no picture, or what it says of itself is damaged.
    """
    try:
        with Image.open(path) as opened:
            text = getattr(opened, "text", {}).get(LAYOUT)
            sheet = opened.convert("RGB")
        layout = json.loads(text) if text else {"columns": {}, "rows": []}
        return sheet, _told_apart([_cut(sheet, layout["columns"], row) for row in layout["rows"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise ImpastoError(f"{path} is damaged or breaks off ({reason}): move it away.") from error


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """Number rows of one grid whose keys are the same: a second drawing of some words stands beside others' second."""
    seen: Counter[str] = Counter()
    numbered: list[Row] = []
    for key, given, painted, prompt in rows:
        seen[key] += 1
        numbered.append((f"{key}-{seen[key]}", given, painted, prompt))
    return numbered


def _cut(sheet: Image.Image, titles: Mapping[str, str], row: Mapping[str, object]) -> Row:
    boxes = row["boxes"]
    if not isinstance(boxes, dict):
        raise TypeError("no boxes")
    cells = {name: sheet.crop(tuple(boxes[name])) for name in titles if name in boxes}
    seen = sha256(str(row["prompt"]).encode())
    for name in SAME:
        if name in cells and not ("content" not in cells and name == "style"):  # then it is not given, only shown
            seen.update(name.encode() + cells[name].tobytes())
    given = [(titles[name], image) for name, image in cells.items() if name in GIVEN]
    painted = [(titles[name], image) for name, image in cells.items() if name not in GIVEN]
    return seen.hexdigest(), given, painted, str(row["prompt"])


def _title(entry: Entry, name: str, painted: Cells) -> str:
    """Name a picture by its run; where that has several, what others drew beside it keeps its own name."""
    return entry.label if name == painted[0][0] else f"{entry.label}: {name}"


def _blocks(pairs: Iterable[Pair]) -> list[Block]:
    blocks: dict[tuple[str, ...], Block] = {}
    for pair in pairs:
        titles = tuple(shot.title for shot in (*pair.given, *pair.painted))
        blocks.setdefault(titles, Block(list(titles), [])).pairs.append(pair)
    return sorted(blocks.values(), key=lambda block: -len({id(s.entry) for s in block.pairs[0].painted}))


def _encoded(blocks: list[Block], sheets: list[Shot], budget: int, quality: int) -> Gallery:
    """Encode as large as the budget allows; where the smallest are too many, leave out the last rows."""
    shots = [shot for block in blocks for pair in block.pairs for shot in (*pair.given, *pair.painted)]
    largest = min(SIDES[0], max((max(shot.image.size) for shot in shots), default=SIDES[0]))
    for side in [largest, *(smaller for smaller in SIDES if smaller < largest)]:
        for shot in shots:
            shot.uri = data_uri(shot.image, side, quality)
        for sheet in sheets:
            sheet.uri = data_uri(sheet.image, SHEET * side, quality)
        if sum(len(shot.uri) for shot in (*shots, *sheets)) <= budget:
            return Gallery(blocks, sheets)
    return _cropped(blocks, sheets, budget)


def _cropped(blocks: list[Block], sheets: list[Shot], budget: int) -> Gallery:
    left, kept, dropped = budget, [], 0
    for block in blocks:
        fitting = []
        for pair in block.pairs:
            size = sum(len(shot.uri) for shot in (*pair.given, *pair.painted))
            left -= size
            fitting += [pair] if left >= 0 else []
            dropped += left < 0
        kept += [Block(block.titles, fitting)] if fitting else []
    shown = []
    for sheet in sheets:
        left -= len(sheet.uri)
        shown += [sheet] if left >= 0 else []
    return Gallery(kept, shown, dropped + len(sheets) - len(shown))


def data_uri(image: Image.Image, side: int, quality: int = QUALITY) -> str:
    """Return a picture as a JPEG's data URI, no side longer than ``side`` pixels."""
    if max(image.size) > side:
        scale = side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
