"""Records as the rows of a report: who is marked, and what stands for runs."""

from pathlib import Path

import numpy as np
import pytest

from experiments.leaderboard.contestants import Contestant, Roster, Section
from experiments.leaderboard.records import Record
from experiments.leaderboard.tables import make_board, standings_of
from experiments.report.entries import variants

PAIRS = {"content": np.repeat(np.arange(4), 4).tolist(), "style": np.tile(np.arange(4), 4).tolist()}
HARD = np.random.default_rng(0).normal(0, 10, 16)


def row(key, level, *, seeds=2, kind="paper", trained=True, metric="m"):
    """Return a contestant of some level, whose pairs are as hard as everybody's, and its records."""
    noise = np.random.default_rng(ord(key))
    training = (
        {"iterations": 9, "seconds": 3600.0, "device": "cpu", "commit": "c", "command": "fit"} if trained else None
    )
    made = []
    for seed in range(seeds):
        values = HARD + level + noise.normal(0, 0.01, 16)
        ends = {"low": None, "high": None, "convention": "so"}
        metrics = {metric: {"mean": float(values.mean()), "better": "lower"} | ends}
        metrics["m_floor"] = {"mean": 1.0, "better": "none"} | ends
        made.append(Record(key, seed, {"training": training}, metrics, PAIRS | {metric: values.tolist()}))
    return Contestant(key, key.upper(), "x", "s", kind, ("a.yaml",), trains=trained, seeds=tuple(range(seeds))), made


def board_of(*rows):
    roster = Roster({"s": Section("S", "Note.")}, [who for who, _ in rows])
    records = [record for _, own in rows for record in own]
    standings = standings_of(roster, records, Path("pictures"))
    return make_board("s", roster, standings), standings


def marks(*rows):
    board, _ = board_of(*rows)
    assert [column.key for column in board.columns] == ["m", "m_floor"]
    assert not any(line.cells[1].mark for line in board.rows)
    return [line.cells[0].mark for line in board.rows]


def test_the_lowest_is_best_although_its_own_interval_overlaps():
    board, _ = board_of(row("a", 0), row("b", 5))
    first, second = (line.cells[0].value for line in board.rows)
    assert first.high > second.low
    assert marks(row("a", 0), row("b", 5)) == ["best", ""]
    assert marks(row("a", 0), row("b", 0), row("c", 5)) == ["tied", "tied", ""]


def test_the_least_halo_is_marked_nowhere():
    board, _ = board_of(row("a", 0, metric="halo"), row("b", 5, metric="halo"))
    assert [(column.key, column.arrow) for column in board.columns] == [("halo", "↓"), ("m_floor", "")]
    assert not any(line.cells[0].mark for line in board.rows)


def test_seeds_that_a_protocol_measured_are_one_variant():
    who, records = row("a", 0)
    said = {
        "protocol": {"name": "p", "sha256": "1", "n": 16},
        "seconds": {"median": 1.0},
        "device": "cpu",
        "command": "c",
    }
    for record in records:
        record.about["evaluation"] = said
    _, (standing,) = board_of((who, records))
    ((label, alike),) = variants(standing.entry, standing.entry.evaluations)
    assert (label, len(alike)) == ("A", 2)


def test_one_seed_leads_at_most():
    assert marks(row("a", 0, seeds=1), row("b", 5)) == ["leading", ""]
    assert marks(row("a", 0), row("b", 5, seeds=1)) == ["leading", ""]
    assert marks(row("a", 0, seeds=1, trained=False), row("b", 5)) == ["best", ""]


def test_references_do_not_compete():
    assert marks(row("a", -5, kind="reference"), row("b", 0), row("c", 5)) == ["", "best", ""]
    assert marks(row("a", -5, kind="reference"), row("b", 0)) == ["", ""]


def test_rows_are_those_that_were_measured_with_their_trainings():
    board, standings = board_of(row("a", 0), row("b", 1, seeds=0), row("c", 2, seeds=1, trained=False))
    assert [line.label for line in board.rows] == ["A", "C"]
    assert [standing.entry.seeds for standing in standings] == [[0, 1], []]
    assert standings[0].entry.hours == pytest.approx(1)
    assert [standing.entry.number for standing in standings] == [0, 1]
    assert board.note == "Note."
