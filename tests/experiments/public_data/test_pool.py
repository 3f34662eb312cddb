import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.public_data.pool import spread
from lightning_modules.errors import ImpastoError

ROOT = Path(__file__).parents[3]


def square(number):
    return number * number, os.getpid()


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number):
    raise ImpastoError("one sentence")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(workers):
    found = dict(spread(square, range(20), workers=workers, title=""))
    assert {job: result[0] for job, result in found.items()} == {number: number * number for number in range(20)}
    assert (os.getpid() in {pid for _, pid in found.values()}) == (workers == 1)
    assert not list(spread(square, [], workers=workers, title=""))


def test_a_worker_that_is_killed_or_fails_is_one_sentence():
    with pytest.raises(ImpastoError, match="A process was killed, perhaps because memory ran out"):
        list(spread(die, range(4), workers=2, title=""))
    with pytest.raises(ImpastoError, match="one sentence"):
        list(spread(fail, range(4), workers=2, title=""))


CODE = """
import os, pathlib, sys, time
from experiments.public_data.pool import spread

def work(number):
    pathlib.Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(60)

list(spread(work, range(2), workers=2, title=""))
"""


def alive(pid):
    """Tell whether a process runs; one that has ended and that nobody has asked about is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_workers_end_with_a_command_that_is_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], cwd=ROOT)  # noqa: S603
    while len(list(tmp_path.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while any(alive(int(path.name)) for path in tmp_path.iterdir()):
        assert time.monotonic() < end, "workers outlived the command"
        time.sleep(0.05)
