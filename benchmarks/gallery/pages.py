"""What every contender painted, side by side."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from benchmarks.contenders.stylists import Task
from benchmarks.gallery.held_out import HeldOut
from callbacks.stylization_grid import Sample, choose, draw_grid

ENDS = {"content": "photograph", "style": "style", "truth": "true painting"}
TELLING = ("Ada Stipple", "Dominic Vitrail", "Elin Facet", "Fumiko Kiri", "Igor Benday", "Juno Maelstrom")
"""Dots, cells, triangles, cuts, halftone and swirls: whose strokes a painter must have, not the colours alone."""


def pair_pages(
    pairs: HeldOut,
    painted: Mapping[str, Sequence[Tensor]],
    notes: Mapping[str, Sequence[str]],
    *,
    shown: int,
    rows: int = 12,
    cell: int = 192,
) -> list[Tensor]:
    """Draw photograph | style | every contender | true painting, a row a pair.

    Args:
        pairs: All pairs.
        painted: By contender, the picture of every pair.
        notes: By contender, what stands under each of them.
        shown: How many pairs, at most; painters and contents take turns.
        rows: How many on one page.
        cell: Side of a picture in pixels.

    Returns:
        Pages, each ``(3, H, W)`` in [0, 1].
    """
    samples = [_row(pairs, painted, notes, number) for number in range(len(pairs.tasks))]
    chosen = sorted(choose(samples, shown), key=lambda sample: sample.artist)
    titles = {"content": ENDS["content"], "style": ENDS["style"]} | {name: name for name in painted}
    titles |= {"truth": ENDS["truth"]}
    return [draw_grid(chosen[start : start + rows], cell, titles) for start in range(0, len(chosen), rows)]


def photograph_page(tasks: Sequence[Task], painted: Mapping[str, Sequence[Tensor]], cell: int) -> Tensor:
    """Draw photograph | style | every contender, a row a style, for one photograph; captions are the painters' names.

    Args:
        tasks: One photograph with several styles, which are shown cut to its proportions.
        painted: By contender, the picture of every task.
        cell: Longer side of a picture in pixels.

    Returns:
        ``(3, H, W)`` in [0, 1].
    """
    samples = [
        Sample(
            {"content": task.content, "style": _cut(task.style, task.content)}
            | {name: them[row] for name, them in painted.items()},
            row,
            task.prompt or "",
        )
        for row, task in enumerate(tasks)
    ]
    return draw_grid(samples, cell, ENDS | {name: name for name in painted})


def telling_pairs(pairs: HeldOut) -> list[int]:
    """Return one pair of each of `TELLING`, with as many contents as there are: always the same pairs."""
    there = [number for number, task in enumerate(pairs.tasks) if task.prompt in TELLING]
    samples = [Sample({"content": pairs.tasks[n].content}, int(pairs.artists[n]), str(n)) for n in there]
    return sorted((int(sample.prompt) for sample in choose(samples, len(TELLING))), key=lambda n: int(pairs.artists[n]))


def strip(pairs: HeldOut, pictures: Sequence[Tensor], cell: int) -> Tensor:
    """Draw one row: the pictures of some contender for `telling_pairs`, under the painters' names.

    Args:
        pairs: All pairs.
        pictures: The picture of every pair.
        cell: Side of a picture in pixels.

    Returns:
        ``(3, H, W)`` in [0, 1].
    """
    numbers = telling_pairs(pairs)
    shown = {str(number): pictures[number] for number in numbers}
    return draw_grid([Sample(shown, 0, "")], cell, {str(number): str(pairs.tasks[number].prompt) for number in numbers})


def _row(
    pairs: HeldOut, painted: Mapping[str, Sequence[Tensor]], notes: Mapping[str, Sequence[str]], number: int
) -> Sample:
    task = pairs.tasks[number]
    pictures = {"content": task.content, "style": task.style, "truth": pairs.truths[number]}
    name = str(task.prompt)
    return Sample(
        pictures | {who: them[number] for who, them in painted.items()},
        int(pairs.artists[number]),
        name,
        {"style": name} | {who: texts[number] for who, texts in notes.items()},
    )


def _cut(picture: Tensor, like: Tensor) -> Tensor:
    """Return the middle of a picture, in the proportions of another."""
    (height, width), (high, wide) = picture.shape[1:], like.shape[1:]
    scale = min(height / high, width / wide)
    rows, columns = max(1, round(high * scale)), max(1, round(wide * scale))
    top, left = (height - rows) // 2, (width - columns) // 2
    return picture[:, top : top + rows, left : left + columns]
