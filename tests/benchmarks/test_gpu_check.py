import json
import os
import subprocess
import sys
import time
from functools import partial

import pytest
import torch

from benchmarks import gpu_check
from benchmarks.checks.case import Case, Place, Row, SkippedCheck, WrongFigureError, worst
from benchmarks.checks.equality import compared
from benchmarks.full_profiles import full_profiles
from benchmarks.gpu_check import Result, all_cases, run, table
from experiments.cli import FOLDER


@pytest.fixture
def place(tmp_path):
    return Place(torch.device("cpu"), True, tmp_path)


def figures(fate, place):
    assert place.tiny
    yield Row("first", 1.0, "s")
    if fate == "skip":
        raise SkippedCheck("there is no such thing")
    if fate == "fail":
        raise WrongFigureError("it is 3, not 2\nand more")
    if fate == "die":
        os._exit(7)
    if fate == "hang":
        time.sleep(60)
    yield Row("second", 2.0, "s")


@pytest.mark.parametrize(
    ("fate", "status", "reason", "count"),
    [
        ("pass", "passed", "", 2),
        ("skip", "skipped", "there is no such thing", 1),
        ("fail", "failed", "WrongFigureError: it is 3, not 2", 1),
        ("die", "failed", "its process died with status 7", 1),
        ("hang", "failed", "it took longer than 6 s", 1),
    ],
)
def test_whatever_becomes_of_a_check_is_reported_with_its_figures(monkeypatch, place, fate, status, reason, count):
    monkeypatch.setattr(gpu_check, "GRACE", 1.0)
    result = run(Case("a check", partial(figures, fate), 1.5), place, allowed=100.0)
    assert (result.status, result.reason, len(result.rows)) == (status, reason, count)


def test_what_there_is_no_time_for_is_skipped(place):
    result = run(Case("a check", partial(figures, "hang")), place, allowed=1.0)
    assert (result.status, result.reason) == ("skipped", "the time of all checks is over")


def test_every_experiment_that_learns_from_pictures_is_checked_and_what_compiles_comes_last():
    names = [case.name for case in all_cases(tiny=False)]
    assert len(set(names)) == len(names)
    for method, kind in full_profiles().items():
        assert any(method in name.lower() for name in names), (method, kind)
    compiled = [number for number, name in enumerate(names) if "compiled" in name]
    assert compiled == list(range(len(names) - len(compiled), len(names)))
    assert [case.name for case in all_cases(False, ["kernel"])] == ["scan, mamba-ssm's kernel against ours"]


def test_the_table_has_figures_skips_and_failures():
    rows = [Row("512x512", 0.02512, "s", "paper: 0.030 s")]
    results = [Result("a", "passed", "", 1.0, rows), Result("b", "skipped", "no CUDA"), Result("c", "failed", "nan")]
    text = table(results, {"torch": "2.13"})
    assert "| a | 512x512 | 0.02512 | s | paper: 0.030 s |" in text
    assert "skipped: 1\n\n- b: no CUDA\n" in text
    assert text.endswith("failed: 1\n\n- c: nan\n")


def test_differences_are_judged():
    assert compared("ssim", 0.5, 0.5001).value == pytest.approx(2e-4)
    for there in (0.502, float("nan")):
        with pytest.raises(WrongFigureError, match="ssim is"):
            compared("ssim", 0.5, there)
    assert worst(iter([Row("a", 1.0, "x"), Row("b", 3.0, "x"), Row("c", 2.0, "x")])) == Row(
        "b", 3.0, "x", "the largest of 3"
    )


@pytest.mark.slow
def test_the_script_runs_on_a_cpu(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu_check",
        "--device",
        "cpu",
        "--minutes",
        "20",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(  # noqa: S603
        command, cwd=FOLDER.parent, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    reasons = {check["reason"] for check in found["checks"] if check["status"] == "skipped"}
    assert reasons <= {"mamba-ssm's kernel runs on CUDA only", "CLAST has no argument compile"} | {
        reason for reason in reasons if reason.endswith("has no argument compile")
    }
    assert len(found["checks"]) == len(all_cases(tiny=True))
    assert (tmp_path / "gpu_check.md").read_text() in done.stdout
