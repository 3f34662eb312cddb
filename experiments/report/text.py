"""Numbers as a reader sees them, and the tables as CSV and Markdown."""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

from experiments.report.boards import Board, Cell, Row
from experiments.report.published import Paper
from experiments.report.records import Measurement

SYMBOLS = {"best": "★", "tied": "≈", "leading": "☆", "": ""}
MEANINGS = {
    "best": "best: its interval is apart from all others",
    "tied": "not told apart from the best: the intervals overlap",
    "leading": "best value, but some have no interval, so another seed may change it",
}
HEADER = ("table", "row", "method", "profile", "seeds", "metric", "better", "mean", "low", "high", "deviation", "n",
          "mark", "convention")  # fmt: skip


def number(value: float | None) -> str:
    """Return four significant digits, and no exponent where none is needed.

    Examples:
        >>> number(0.5), number(1234.56), number(0.00012345), number(-0.0), number(None)
        ('0.5000', '1235', '0.0001234', '0.000', '–')
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    return f"{value + 0.0:.0f}" if abs(value) >= 1000 else f"{value + 0.0:#.4g}"


def duration(hours: float | None) -> str:
    """Return a time in the units that it is counted in.

    Examples:
        >>> duration(72), duration(1.75), duration(0.2843), duration(0.01), duration(None)
        ('72 h', '1 h 45 min', '17 min', '36 s', '–')
    """
    if hours is None:
        return "–"
    if hours < 1 / 30:
        return f"{hours * 3600:.0f} s"
    whole, minutes = divmod(round(hours * 60), 60)
    return " ".join(filter(None, (f"{whole} h" if whole else "", f"{minutes} min" if minutes else "")))


def spread(value: Measurement | None) -> str:
    """Say how sure a value is: its deviation over seeds, or else its interval; nothing where neither is known."""
    if value is None:
        return ""
    if value.deviation is not None:
        return f"± {number(value.deviation)}, {value.n} seeds"
    if value.low is not None and value.high is not None:
        return f"{number(value.low)} to {number(value.high)}"
    return ""


def to_csv(boards: Sequence[Board]) -> str:
    """Return every measurement in a line of its own, with all its digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for board in boards:
        for row in board.rows:
            writer.writerows(_lines(board, row))
    return text.getvalue()


def _lines(board: Board, row: Row) -> Iterator[list[object]]:
    entry = row.entry
    about = [board.title, row.label, entry.method, entry.profile, " ".join(map(str, entry.seeds))]
    for column, cell in zip(board.columns, row.cells, strict=True):
        if cell.value is not None:
            value = cell.value
            numbers = [value.mean, value.low, value.high, value.deviation, value.n]
            yield [*about, column.key, column.better, *numbers, cell.mark, column.convention]


def to_markdown(boards: Sequence[Board], papers: Sequence[Paper]) -> str:
    """Return the tables as Markdown: what was measured first, then what the papers report."""
    parts = [_measured(board) for board in boards]
    if any(cell.mark for board in boards for row in board.rows for cell in row.cells):
        parts.append("\n".join(f"{SYMBOLS[mark]} {meaning}." for mark, meaning in MEANINGS.items()) + "\n")
    for paper in papers:
        parts.append(f"# Published, not measured here: {paper.title}\n\n<{paper.link}>\n")
        for said in paper.tables:
            header = ["method", *said.columns]
            rows = [[f"**{plain(r.method)}**" if r.own else plain(r.method), *map(_published, r.values)]
                    for r in said.rows]  # fmt: skip
            parts.append(f"## {said.name}\n\n{said.caption}\n\n{table(header, rows)}")
    return "\n".join(parts)


def _published(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _measured(board: Board) -> str:
    if len(board.rows) == 1:
        cells = board.rows[0].cells
        header = ["metric", board.rows[0].label, "convention"]
        rows = [[f"`{c.key}` {c.arrow}".strip(), shown_cell(cell), plain(c.convention)]
                for c, cell in zip(board.columns, cells, strict=True)]  # fmt: skip
    else:
        header = ["method", *(f"`{column.key}` {column.arrow}".strip() for column in board.columns)]
        rows = [[plain(row.label), *map(shown_cell, row.cells)] for row in board.rows]
    return f"# {board.title}\n\n{board.note}\n\n{table(header, rows)}"


def shown_cell(cell: Cell) -> str:
    """Return a measurement as Markdown: its value, its mark, and how sure it is."""
    value = " ".join(filter(None, (number(cell.value.mean if cell.value else None), SYMBOLS[cell.mark])))
    sure = spread(cell.value)
    return f"{f'**{value}**' if cell.mark == 'best' else value}{f' ({sure})' if sure else ''}"


def plain(text: str) -> str:
    """Return a text that breaks no table."""
    return text.replace("|", "\\|").replace("\n", " ")


def coded(text: str) -> Markup:
    """Return a text as HTML, where what stands between backquotes is code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # all else is escaped


def table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table: so many columns of words to the left, the others to the right."""
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * words + ' ---: |' * (len(header) - words)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
