import pytest

from experiments.demo.sessions import Sessions, StoppedError


def test_a_page_ends_its_own_painting_and_no_other():
    sessions = Sessions()
    with sessions.running("mine") as mine, sessions.running("yours") as yours:
        sessions.stop("mine")
        yours()
        with pytest.raises(StoppedError, match=r"^Stopped\.$"):
            mine()


def test_a_stop_ends_what_runs_and_not_what_comes_next():
    sessions = Sessions()
    with sessions.running("mine"):
        sessions.stop("mine")
    sessions.stop("mine")  # nothing runs
    with sessions.running("mine") as go_on:
        go_on()
