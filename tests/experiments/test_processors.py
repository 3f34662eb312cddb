import math
import os

import pytest

from experiments import processors
from experiments.processors import BLOCKTIME, SPINS, share_processors


def test_threads_wait_awake_for_a_bounded_time():
    environment = {}
    share_processors(environment)
    assert environment["GOMP_SPINCOUNT"] == str(SPINS)
    assert environment["KMP_BLOCKTIME"] == str(BLOCKTIME)


@pytest.mark.parametrize("name", processors.WAITING)
def test_what_the_user_says_about_waiting_counts(name):
    environment = {name: "7"}
    share_processors(environment)
    assert {key: environment.get(key) for key in processors.WAITING} == {
        key: "7" if key == name else None for key in processors.WAITING
    }


def test_threads_are_as_many_as_the_container_may_keep_busy(monkeypatch):
    monkeypatch.setattr(processors, "_allowed", lambda: set(range(8)))
    monkeypatch.setattr(processors, "_quota", lambda _: 2.5)
    environment, chosen = {}, {"OMP_NUM_THREADS": "8"}
    share_processors(environment)
    share_processors(chosen)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert chosen["OMP_NUM_THREADS"] == "8"


def test_without_a_limit_openmp_counts_itself(monkeypatch):
    monkeypatch.setattr(processors, "_quota", lambda _: math.inf)
    environment = {}
    share_processors(environment)
    assert "OMP_NUM_THREADS" not in environment


def test_both_versions_of_control_groups_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "_allowed", lambda: set(range(8)))
    assert processors.processors(tmp_path) == 8
    (tmp_path / "cpu").mkdir()
    for name, value in (("quota", "150000"), ("period", "100000")):
        (tmp_path / "cpu" / f"cpu.cfs_{name}_us").write_text(value + "\n")
    assert processors.processors(tmp_path) == 2
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert processors.processors(tmp_path) == 8
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert processors.processors(tmp_path) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are not bound here")
def test_a_bound_process_counts_its_own_processors():
    assert processors.processors() <= len(os.sched_getaffinity(0))
