"""The pages, from the records alone: one for a browser, and the tables of the page that people write by hand."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean

from experiments.leaderboard.board import read_all
from experiments.leaderboard.claims import Answer, ask, read_claims, summed_up
from experiments.leaderboard.contestants import Roster
from experiments.leaderboard.records import Record
from experiments.leaderboard.tables import MEANINGS, Standing, make_board, standings_of
from experiments.leaderboard.thumbnails import FOLDER
from experiments.report.boards import Board
from experiments.report.page import Table, render
from experiments.report.pictures import make_gallery
from experiments.report.records import Evaluation
from experiments.report.text import SYMBOLS, duration, number, plain, shown_cell, table
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

BEGIN, END = "<!-- leaderboard: made by `impasto leaderboard`, not by hand -->", "<!-- leaderboard: end -->"
FOLDED = '<details markdown="1"><summary>'
PICTURES, QUALITY = 600_000, 78
"""Bytes of all pictures on the page, which is committed, and how well they are kept."""
SUMMARY = ("paper", "claim", "than", "verdict")
NOTE = (
    "Every line is a difference of two rows, positive where the claim points: it holds where the interval is above 0, "
    "does not hold where it is below, and is undecided where 0 is inside."
)
LINES = ("claim", "than", "by", "difference", "verdict")


def write_pages(roster: Roster, out: Path, outdated: Sequence[str] = ()) -> list[Path]:
    """Write both pages.

    Args:
        roster: Who stands where, and what is claimed.
        out: The records; gets ``index.html``, and beside it lies the page in words, ``OUT.md``.
        outdated: Names of records whose settings have changed since they were made; the page in words says so.

    Returns:
        The pages' paths, the one for a browser last.

    Raises:
        ImpastoError: If nothing was measured yet, a record is damaged, or the page in words has lost its marks.
    """
    records = read_all(roster, out)
    if not records:
        raise ImpastoError(f"There is no record in {out} to make a page of: run `impasto leaderboard` first.")
    standings = standings_of(roster, records, out / FOLDER)
    answers = ask(read_claims(roster), {row.contestant.key: row.records for row in standings})
    boards = {key: make_board(key, roster, own) for key in roster.sections if (own := _of(key, standings))}
    entries = [row.entry for row in standings]
    names = {who.key: who.name for who in roster.contestants}
    claims, lines = _summary(answers, names), _lines(answers, names)
    tables = [Table("What the papers claim", NOTE, SUMMARY, claims), Table("Claim by claim", "", LINES, lines)]
    html = render(
        entries,
        list(boards.values()),
        make_gallery(entries, PICTURES, QUALITY),
        title="Leaderboard",
        meanings=MEANINGS,
        tables=tables if answers else [],
    )
    parts = [_section(board, roster.sections[key].shown, _of(key, standings)) for key, board in boards.items()]
    parts += ["\n".join(f"{SYMBOLS[mark]} {meaning}." for mark, meaning in MEANINGS.items()) + "\n"]
    if answers:
        parts += [f"### {tables[0].title}\n\n{NOTE}\n\n{table(SUMMARY, claims, len(SUMMARY))}"]
        parts += [f"{FOLDED}{tables[1].title}</summary>\n\n{table(LINES, lines, len(LINES))}\n</details>\n"]
    words = out.with_suffix(".md")
    _replace(words, "\n".join([_count(roster, records, outdated), *parts]))
    write_atomically(out / "index.html", html)
    return [words, out / "index.html"]


def _of(key: str, standings: Sequence[Standing]) -> list[Standing]:
    return [row for row in standings if row.contestant.section == key]


def _count(roster: Roster, records: Sequence[Record], outdated: Sequence[str]) -> str:
    wanted = sum(len(who.seeds) for who in roster.contestants)
    left = f" Still missing: {wanted - len(records)}." if len(records) < wanted else ""
    commits = sorted({str(r.about["training"]["commit"]) for r in records if r.about.get("training")})
    at = f" Trained at {', '.join(commits)}." if commits else ""
    old = f" Settings have changed since, so that these are not of today's: {', '.join(outdated)}." if outdated else ""
    return f"{len(records)} of {wanted} measurements.{left}{at}{old}\n"


def _section(board: Board, shown: Sequence[str], standings: Sequence[Standing]) -> str:
    columns = [n for name in shown for n, column in enumerate(board.columns) if column.key == name]
    heads = [f"`{board.columns[n].name}` {board.columns[n].arrow}".strip() for n in columns]
    rows = [
        [
            f"**{plain(row.label)}**" if standing.contestant.kind == "paper" else plain(row.label),
            standing.contestant.kind,
            _seeds(standing),
            *(shown_cell(row.cells[n]) for n in columns),
            duration(row.entry.hours),
            number(_seconds(row.entry.evaluations)),
        ]
        for row, standing in zip(board.rows, standings, strict=True)
    ]
    header = ["method", "kind", "seeds", *heads, "training", "s a picture"]
    return f"### {board.title}\n\n{board.note}\n\n{table(header, rows, 2)}"


def _seeds(standing: Standing) -> str:
    if not standing.entry.runs:
        return "–"
    return "one seed" if len(standing.records) == 1 else str(len(standing.records))


def _seconds(evaluations: Sequence[Evaluation]) -> float | None:
    known = [each.seconds for each in evaluations if each.seconds is not None]
    return fmean(known) if known else None


def _summary(answers: Sequence[Answer], names: Mapping[str, str]) -> list[list[str]]:
    """Return a line a claim."""
    lines = []
    for claim, own in groupby(answers, key=lambda answer: answer.claim):
        others = ", ".join(names[key] for key in claim.than)
        verdict = f"cannot be asked: {claim.cannot}" if claim.cannot else summed_up(list(own))
        lines.append([claim.paper, f"{claim.says} ({claim.source})", others or "–", verdict])
    return lines


def _lines(answers: Sequence[Answer], names: Mapping[str, str]) -> list[list[str]]:
    """Return a line a difference."""
    lines = []
    for answer in answers:
        claim, found = answer.claim, answer.found
        if claim.cannot:
            continue
        much = "–" if found is None else number(found.mean)
        if found is not None and found.low is not None:
            much += f" ({number(found.low)} to {number(found.high)})"
        lines.append([f"{claim.paper}: {claim.says}", names[answer.than], answer.metric, much, answer.verdict])
    return lines


def _replace(path: Path, text: str) -> None:
    """Put the tables between their marks; what is written by hand around them stays."""
    before, after = f"# Leaderboard\n\n{BEGIN}\n", f"{END}\n"
    if path.is_file():
        old = path.read_text(encoding="utf-8")
        if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(END) < old.index(BEGIN):
            raise ImpastoError(f"{path} has not one line '{BEGIN}' before one '{END}': put them back.")
        before, after = old[: old.index(BEGIN)] + BEGIN + "\n", old[old.index(END) :]
    write_atomically(path, f"{before}\n{text}\n{after}")
