"""What make would run; nothing is run."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "ARGS", "PROFILE", "RUNS", "VENV"}
"""What `make test` would hand on to another make."""


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """Return what ``make -n`` says of these words, with a ``.venv`` that it takes for made."""
    told = ["make", "--dry-run", "--old-file", ".venv/.ready", *words]
    clean = {name: value for name, value in os.environ.items() if name not in OURS}
    return subprocess.run(told, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


def commands(*words: str) -> list[str]:
    """Return the calls of ``impasto``, without the interpreter."""
    lines = make(*words).stdout.replace("\\\n", " ").splitlines()
    return [" ".join(line.split("-m experiments ")[1].split()) for line in lines if "-m experiments " in line]


def test_a_training_is_followed_by_its_report():
    fit, compare = commands("train-neat", "PROFILE=overfit", "ARGS=--seed_everything 1")
    assert fit == "fit --config experiments/neat/overfit.yaml --seed_everything 1"
    assert compare == "compare runs/neat/latest --out report"


def test_the_report_looks_where_the_training_wrote():
    fit, compare = commands("train-neat", "RUNS=/scratch/runs")
    assert fit == "fit --config experiments/neat/tiny.yaml --runs_dir /scratch/runs"
    assert compare == "compare /scratch/runs/neat/latest --out report"


@pytest.mark.parametrize("words", ["--runs_dir elsewhere", "--runs_dir=elsewhere"])
def test_a_folder_of_runs_among_the_arguments_is_refused_before_the_training(words):
    said = make("train-neat", f"ARGS={words}").stdout
    check = said[: said.index("-m experiments fit")]
    assert '[ -z "--runs_dir' in check
    assert "make train-neat RUNS=DIR" in check


def test_report_takes_the_newest_run_of_every_method(tmp_path):
    for method in ("clast", "neat"):
        (tmp_path / method / "latest").mkdir(parents=True)
    (compare,) = commands("report", f"RUNS={tmp_path}")
    assert set(compare.split()[1:-2]) == {f"{tmp_path}/clast/latest", f"{tmp_path}/neat/latest"}
