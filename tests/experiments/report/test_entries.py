import math
import statistics
from dataclasses import replace

import pytest
from scipy import stats

from experiments.report.entries import make_entries, over_seeds, variants
from experiments.report.records import Evaluation, Measurement, RunRecord


def run(name, seed, *, method="m", profile="tiny", value=1.0, iterations=10, **settings):
    summary = {
        "method": method, "profile": profile, "seed": seed, "iterations": iterations, "metrics": {"val/x": value},
        "seconds": 360.0 * value, "device": "cpu",
    }  # fmt: skip
    return RunRecord(name, f"/runs/{method}/{name}", summary, {"seed_everything": seed, "run_name": name, **settings})


def evaluation(checkpoint):
    return Evaluation("m", checkpoint, {"name": "p", "sha256": "1"}, {}, {}, {}, None, "cpu", "", f"{checkpoint}/e")


def test_seeds_are_one_row():
    values = [1.0, 2.0, 4.0]
    (entry,) = make_entries([run(f"r{n}", n, value=value) for n, value in enumerate(values)], [])
    assert (entry.label, entry.seeds) == ("m tiny", [0, 1, 2])
    told = entry.measured("val/x")
    interval = stats.t.interval(0.95, 2, loc=statistics.fmean(values), scale=stats.sem(values))
    assert (told.mean, told.deviation, told.n) == (statistics.fmean(values), statistics.stdev(values), 3)
    assert told.interval == pytest.approx(interval)
    assert entry.hours == pytest.approx(0.1 * statistics.fmean(values))


@pytest.mark.parametrize(
    "other",
    [
        run("b", 0),  # the same seed again
        run("b", 1, lr=2.0),
        run("b", 1, iterations=5),
        run("b", 1, method="n"),
        run("b", 1, profile="full"),
        run("b", None),
    ],
)
def test_what_differs_in_more_than_its_seed_has_a_row_of_its_own(other):
    entries = make_entries([run("a", 0), other], [])
    assert [len(entry.runs) for entry in entries] == [1, 1]
    assert len({entry.label for entry in entries}) == 2


def test_a_single_seed_keeps_its_own_interval():
    assert over_seeds([Measurement(1.0, 0.5, 1.5, n=750)]) == Measurement(1.0, 0.5, 1.5, n=750)
    assert over_seeds([]) is None
    assert math.isnan(over_seeds([Measurement(1.0), Measurement(math.nan)]).mean)


def test_an_evaluation_belongs_to_the_run_whose_checkpoint_it_measured():
    ours, others = evaluation("/runs/m/a/checkpoints/best.ckpt"), evaluation("/elsewhere/best.ckpt")
    entries = make_entries([run("a", 0), run("b", 0)], [others, ours])
    assert {entry.label: entry.evaluations for entry in entries} == {"m": [others], "m tiny a": [ours], "m tiny b": []}


def of_seed(number, path, **said):
    file = f"/runs/m/s{number}/checkpoints/last.ckpt"
    said = {"file": file, "sha256": f"hash {number}", "finished": "2026-01-01T00:00:00", **said}
    return replace(evaluation(path), **said)


def test_seeds_are_one_row_however_their_checkpoints_were_named():
    named = [of_seed(0, "/runs/m/latest"), of_seed(1, "/runs/m/latest"), of_seed(2, "/runs/m/s2")]
    (entry,) = make_entries([run(f"s{n}", n) for n in range(3)], named)
    ((label, measured),) = variants(entry, entry.evaluations)
    assert (label, measured) == ("m tiny", named)


def test_a_checkpoint_that_was_measured_twice_counts_once_as_it_was_measured_last():
    late = of_seed(0, "s0", finished="2026-01-02T00:00:00")
    for both in ([late, of_seed(0, "/runs/m/s0")], [of_seed(0, "/runs/m/s0"), late]):
        (entry,) = make_entries([run("s0", 0)], both)
        ((_, measured),) = variants(entry, entry.evaluations)
        assert measured == [late]


def test_a_run_may_be_measured_by_its_folder():
    inside = replace(evaluation("/runs/m/a"), place="/elsewhere")  # as it was noted before files were
    (entry,) = make_entries([run("a", 0)], [inside])
    assert entry.evaluations == [inside]
