"""Commands in processes of their own."""

import threading
import time

import pytest

from experiments.leaderboard import workshop
from experiments.leaderboard.workshop import Workshop
from lightning_modules.errors import ImpastoError


def test_a_command_leaves_a_log_and_fails_with_its_own_words(tmp_path):
    log = tmp_path / "logs" / "a.log"
    Workshop().run(["--version"], log)
    assert log.read_text().startswith("$ impasto --version\nimpasto ")
    with pytest.raises(ImpastoError, match="'paintt' is not a command"):
        Workshop().run(["paintt"], log)
    assert log.read_text().count("$ impasto") == 2


def test_threads_are_those_that_were_asked_for():
    assert Workshop(3)._environment["OMP_NUM_THREADS"] == "3"


def test_closing_ends_what_runs_and_starts_no_more(tmp_path, monkeypatch):
    # A process that would take a minute stands for a training.
    monkeypatch.setattr(workshop.sys, "executable", str(slow_interpreter(tmp_path)))
    shop, failed = Workshop(), []

    def train():
        try:
            shop.run(["fit"], tmp_path / "log")
        except ImpastoError as error:
            failed.append(str(error))

    thread = threading.Thread(target=train)
    thread.start()
    while not shop._running:
        time.sleep(0.01)
    shop.close()
    thread.join(20)
    assert not thread.is_alive()
    assert len(failed) == 1
    with pytest.raises(ImpastoError, match="stopped before it began"):
        shop.run(["fit"], tmp_path / "log")


def slow_interpreter(folder):
    path = folder / "slow"
    path.write_text("#!/bin/sh\nexec sleep 60\n")
    path.chmod(0o755)
    return path
