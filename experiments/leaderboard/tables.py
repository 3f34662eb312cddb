"""Records as the rows and tables of a report, marked by what was compared pair by pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.leaderboard.contestants import Contestant, Roster
from experiments.leaderboard.records import Record
from experiments.leaderboard.statistics import difference, over_seeds
from experiments.report.boards import Board, Cell, Column, Row
from experiments.report.entries import Entry
from experiments.report.marks import Mark, stand_in
from experiments.report.records import Evaluation, Measurement, RunRecord

MEANINGS = {
    "best": "better than every other row: the interval of each difference, pair by pair, is on one side of 0",
    "tied": "not told apart from the best: the interval of their difference has 0 in it",
    "leading": "best value, but a training has one seed, so another seed may change it",
}


@dataclass(frozen=True)
class Standing:
    """A row: who, with all records of theirs, and the entry of the report that stands for them."""

    contestant: Contestant
    records: list[Record]
    entry: Entry


def standings_of(roster: Roster, records: Sequence[Record], pictures: Path) -> list[Standing]:
    """Return everybody of whom there is a record, in the roster's order.

    Args:
        roster: Who could be there.
        records: What was measured.
        pictures: Folder of `experiments.leaderboard.thumbnails`.
    """
    found: list[Standing] = []
    for who in roster.contestants:
        own = [record for record in records if record.key == who.key]
        if own:
            entry = Entry(who.name, _runs(who, own), _evaluations(who, own, pictures), len(found))
            found.append(Standing(who, own, entry))
    return found


def make_board(key: str, roster: Roster, standings: Sequence[Standing]) -> Board:
    """Return the table of a section, with every metric that somebody has.

    Args:
        key: Of the section.
        roster: Knows the section.
        standings: Who stands in it.
    """
    section = roster.sections[key]
    said: dict[str, Mapping[str, Any]] = {}
    for record in (record for row in standings for record in row.records):
        said |= record.metrics
    columns = [Column(name, str(v["better"]), str(v["convention"]), stand_in(name)) for name, v in said.items()]
    columns.sort(key=lambda column: (column.network, column.key))
    marked = [_marks(standings, column) for column in columns]
    rows = [
        Row(row.contestant.name, row.entry, [Cell(_of_seeds(row, c.key), marked[n][at]) for n, c in enumerate(columns)])
        for at, row in enumerate(standings)
    ]
    return Board(section.title, " ".join(filter(None, [section.note, _measured(standings)])), columns, rows, key)


def _of_seeds(row: Standing, key: str) -> Measurement | None:
    """Return a mean with its interval; a report would show the seeds' deviation in its place."""
    found = over_seeds(row.records, key)
    return None if found is None else replace(found, deviation=None)


def _measured(standings: Sequence[Standing]) -> str:
    """Say on what the numbers stand."""
    protocols = {r.about["evaluation"]["protocol"]["sha256"]: r.about["evaluation"]["protocol"]
                 for row in standings for r in row.records if r.about.get("evaluation")}  # fmt: skip
    return " ".join(
        f"Protocol {said['name']} {sha256[:12]}, {said['n']} pairs, by `impasto evaluate`."
        for sha256, said in protocols.items()
    )


def _marks(standings: Sequence[Standing], column: Column) -> list[Mark]:
    """Mark the best of those who compete, and whoever is not told apart from it."""
    marks: list[Mark] = [""] * len(standings)
    means = {at: m.mean for at, row in enumerate(standings) if row.contestant.kind != "reference"
             for m in [over_seeds(row.records, column.key)] if m is not None}  # fmt: skip
    if column.ranked == "none" or len(means) < 2:
        return marks
    choose = max if column.ranked == "higher" else min
    top = choose(means, key=lambda at: means[at])
    found = {at: difference(standings[top].records, standings[at].records, column.key) for at in means if at != top}
    if any(each is None or each.low is None for each in found.values()):
        marks[top] = "leading"
        return marks
    near = [at for at, each in found.items() if each is not None and not each.sure]
    for at in (top, *near):
        marks[at] = "tied" if near else "best"
    return marks


def _runs(who: Contestant, records: Sequence[Record]) -> list[RunRecord]:
    """Return what stands for the trainings; nothing where nothing was trained."""
    made = []
    for record in records:
        training = record.about.get("training")
        if training is not None:
            summary = {"method": who.method, "profile": who.key, "seed": record.seed, **training}
            made.append(RunRecord(f"seed {record.seed}", "", summary))
    return made


def _evaluations(who: Contestant, records: Sequence[Record], pictures: Path) -> list[Evaluation]:
    found = []
    for record in records:
        said = record.about.get("evaluation")
        if said is not None:
            seconds, place = said["seconds"]["median"], str(pictures / who.key)
            checkpoint = f"{record.seed}/{record.key}"  # of one name, as seeds of one another are
            found.append(
                Evaluation(who.method, checkpoint, said["protocol"], {}, {}, {}, seconds, said["device"],
                           said["command"], place)
            )  # fmt: skip
    return found
