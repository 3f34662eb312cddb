"""The comparison of runs: one self-contained page, and its tables as CSV and Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, FileSystemLoader

from experiments.report.boards import Board, make_boards
from experiments.report.curves import Line, draw
from experiments.report.entries import NAMES, Entry, make_entries
from experiments.report.gathering import gather
from experiments.report.pictures import Gallery, make_gallery
from experiments.report.published import measured_here, papers_of
from experiments.report.records import RunRecord
from experiments.report.text import MEANINGS, SYMBOLS, coded, duration, number, spread, to_csv, to_markdown
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically
from lightning_modules.paths import shown

FOLDER = Path(__file__).parent
RESULTS = ("table.csv", "table.md", "index.html")
"""What a report consists of."""
STAGES = {"val": "Validation", "test": "Test", "train": "Training"}
"""What curves are called that begin so; the others are schedules."""


@dataclass(frozen=True)
class Table:
    """A table of words: its title, what a reader must know of it, its header and its rows."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: Its path.
        damaged: A sentence about each run that is left out.
    """

    page: Path
    damaged: list[str]


def write_report(places: Sequence[str | Path], out: Path, api: Any = None) -> Report:
    """Compare runs.

    Args:
        places: As of `experiments.report.gathering.gather`, at least one.
        out: Folder that gets ``index.html``, ``table.csv`` and ``table.md``.
        api: What stands for ``wandb.Api()``.

    Returns:
        The page's path, and what could not be read.

    Raises:
        ImpastoError: If nothing can be read.
    """
    with TemporaryDirectory() as downloads:
        found = gather([str(place) for place in places], Path(downloads), api)
        if not (found.runs or found.evaluations):
            raise ImpastoError(" ".join(found.damaged) or "There is no run to compare.")
        entries = make_entries(found.runs, found.evaluations)
        boards = make_boards(entries)
        page = render(entries, boards, make_gallery(entries), damaged=found.damaged)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "table.csv", to_csv(boards))
    write_atomically(out / "table.md", to_markdown(boards, papers_of(entries)))
    write_atomically(out / "index.html", page)
    return Report(out / "index.html", found.damaged)


def render(
    entries: Sequence[Entry],
    boards: Sequence[Board],
    gallery: Gallery,
    *,
    title: str = "",
    damaged: Sequence[str] = (),
    meanings: Mapping[str, str] = MEANINGS,
    tables: Sequence[Table] = (),
) -> str:
    """Return the page.

    Args:
        entries: Its rows.
        boards: Its tables of measurements.
        gallery: Its pictures.
        title: By default one that tells the methods.
        damaged: A sentence about each run that is left out.
        meanings: What the marks say.
        tables: More tables, below those of measurements.
    """
    papers = papers_of(entries)
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "spread": spread, "duration": duration, "shown": shown, "coded": coded}
    shared, own = _settings(entries)
    return environment.get_template("report.html").render(
        title=title or _title(entries),
        style=(FOLDER / "report.css").read_text(encoding="utf-8"),
        script=(FOLDER / "report.js").read_text(encoding="utf-8"),
        symbols=SYMBOLS,
        meanings=meanings,
        tables=tables,
        entries=entries,
        boards=boards,
        papers=papers,
        here={paper.method: [measured_here(t, paper.method, boards) for t in paper.tables] for paper in papers},
        paper_of={paper.method: paper for paper in papers},
        gallery=gallery,
        curves=_curves(entries),
        shared=shared,
        own=own,
        commands={entry.number: commands(entry) for entry in entries},
        damaged=damaged,
    )


def _title(entries: Sequence[Entry]) -> str:
    if len(entries) == 1:
        return f"{entries[0].label}: {entries[0].runs[0].name}" if entries[0].runs else entries[0].label
    return f"{len(entries)} rows compared: {', '.join(dict.fromkeys(entry.method for entry in entries))}"


def commands(entry: Entry) -> list[tuple[str, str]]:
    """Return what repeats each run and evaluation of a row: what it is, and the command line."""
    runs = [(_name_of(run), command_of(run)) for run in entry.runs]
    return runs + [(f"measured by {e.protocol.get('name', '?')}", e.command) for e in entry.evaluations if e.command]


def command_of(run: RunRecord) -> str:
    """Return the command line that repeats a run; of one that does not know it, its resolved settings."""
    said = run.summary.get("command")
    return str(said) if said else f"python -m experiments fit --config {Path(run.place) / 'config.yaml'}"


def _name_of(run: RunRecord) -> str:
    commit = run.summary.get("commit")
    return f"{run.name}, at commit {commit}" if commit else run.name


def _curves(entries: Sequence[Entry]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return groups of curves, the measurements first: what the group is, and for each quantity its name and SVG."""
    names = {name for entry in entries for run in entry.runs for name in run.curves}
    order = list(STAGES)

    def stage(name: str) -> str:
        prefix = name.partition("/")[0]
        return STAGES.get(prefix, "Schedules and weights")

    def rank(name: str) -> tuple[int, str]:
        prefix = name.partition("/")[0]
        return order.index(prefix) if prefix in order else len(order), name

    groups = []
    for title, members in groupby(sorted(names, key=rank), key=stage):
        drawn = [(name, draw(name, _lines(name, entries))) for name in members]
        groups.append((title, [(name, svg) for name, svg in drawn if svg]))
    return [group for group in groups if group[1]]


def _lines(name: str, entries: Sequence[Entry]) -> list[Line]:
    return [
        Line(_line_label(entry, run), run.curves[name], entry.colour, entry.dash)
        for entry in entries
        for run in entry.runs
        if name in run.curves
    ]


def _line_label(entry: Entry, run: RunRecord) -> str:
    return entry.label if len(entry.runs) == 1 else f"{entry.label}, seed {run.summary.get('seed')}"


Settings = list[tuple[str, list[str]]]


def _settings(entries: Sequence[Entry]) -> tuple[Settings, Settings]:
    """Return the settings that differ: those that every row has, and those that some have.

    Of a single row those of the model and its data.
    """
    rows = [entry.runs[0].settings if entry.runs else {} for entry in entries]
    known = [row for row in rows if row]
    shared: Settings = []
    own: Settings = []
    for name in sorted({name for row in known for name in row}):
        values = [row.get(name) for row in rows]
        everywhere = all(name in row for row in known)
        differs = any(row.get(name) != known[0].get(name) for row in known) or not everywhere
        wanted = differs if len(entries) > 1 else name.startswith(("model.", "data."))
        if wanted and name.split(".")[0] not in NAMES:
            cells = [_setting(name, value) if name in row else "–" for value, row in zip(values, rows, strict=True)]
            (shared if everywhere else own).append((name, cells))
    return shared, own


def _setting(name: str, value: Any) -> str:
    return str(value).rpartition(".")[2] if name.endswith("class_path") else str(value)
