import subprocess
import sys

import pytest

from experiments.evaluation.journal import ENDED, LOCK, NAME, Journal, alone_in, start_anew
from lightning_modules.errors import ImpastoError

HOLDER = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""
HEAD = {
    "format": 1,
    "protocol": "p" * 64,
    "checkpoint": "c" * 64,
    "settings": {"alpha": 1.0},
    "device": "cpu",
    "threads": 1,
}


def test_what_was_noted_is_known_again(tmp_path):
    Journal(tmp_path, HEAD).add({"id": "0000", "seconds": 1.5})
    again = Journal(tmp_path, HEAD)
    again.add({"id": "0001", "seconds": 2.0})
    assert Journal(tmp_path, HEAD).entries == {
        "0000": {"id": "0000", "seconds": 1.5}, "0001": {"id": "0001", "seconds": 2.0}
    }  # fmt: skip


def test_a_line_that_breaks_off_is_dropped(tmp_path):
    journal = Journal(tmp_path, HEAD)
    journal.add({"id": "0000", "seconds": 1.0})
    whole = (tmp_path / NAME).read_bytes()
    for end in (b'{"id": "0001", "sec', b'{"id": "0001", "seconds": 1.0}', b"\x00\x00\x00\n"):
        (tmp_path / NAME).write_bytes(whole + end)
        assert list(Journal(tmp_path, HEAD).entries) == ["0000"]
        assert (tmp_path / NAME).read_bytes() == whole


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("protocol", "q" * 64, "pictures of another protocol (pppppppppppp, not qqqqqqqqqqqq)"),
        ("checkpoint", "d" * 64, "another checkpoint"),
        ("settings", {"alpha": 2.0}, "other settings"),
        ("device", "cuda", "another device (cpu, not cuda)"),
        ("threads", 2, "another number of threads (1, not 2)"),
        ("format", 2, "another version"),
    ],
)
def test_another_evaluation_in_the_folder_is_refused(tmp_path, key, value, words):
    Journal(tmp_path, HEAD)
    with pytest.raises(ImpastoError, match="--overwrite") as error:
        Journal(tmp_path, HEAD | {key: value})
    assert words in str(error.value)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "holiday.png").touch()
    assert not start_anew(tmp_path, ("holiday.png",))
    with pytest.raises(ImpastoError, match=r"holds holiday.png and no evaluation"):
        Journal(tmp_path, HEAD)
    (tmp_path / "holiday.png").rename(tmp_path / NAME)  # an empty journal
    with pytest.raises(ImpastoError, match="is damaged: start anew with --overwrite"):
        Journal(tmp_path, HEAD)


def test_starting_anew_removes_results_alone(tmp_path):
    Journal(tmp_path, HEAD).add({"id": "0000"})
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/0000.png").touch()
    (tmp_path / "notes.txt").touch()
    assert start_anew(tmp_path, ("pictures", "evaluation.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [ENDED, "notes.txt"]
    assert Journal(tmp_path, HEAD, anew=True).entries == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "notes.txt"]


def test_a_removal_that_was_stopped_is_finished(tmp_path, monkeypatch):
    Journal(tmp_path, HEAD)
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr("shutil.rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start_anew(tmp_path, ("pictures",))
    monkeypatch.undo()
    with pytest.raises(ImpastoError, match="holds pictures and no evaluation"):
        Journal(tmp_path, HEAD)
    start_anew(tmp_path, ("pictures",))
    assert Journal(tmp_path, HEAD).entries == {}


def interrupted(path):
    raise KeyboardInterrupt


def test_two_at_once_are_refused_and_a_killed_one_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:  # noqa: S603
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ImpastoError, match="Another process evaluates"), alone_in(tmp_path):
            pass
        other.kill()
        other.wait()
        with alone_in(tmp_path):
            pass
