"""What `auto` means is decided by one process and holds in all; of several that want a file one fetches it."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from torch import distributed as dist

from lightning_modules.errors import ImpastoError
from lightning_modules.weights import agreement, choice
from lightning_modules.weights import files as weights_files
from lightning_modules.weights.choice import Need, resolve

ROOT = Path(__file__).parents[3]
# Another rank, whose own cache holds the pretrained file: by itself it would decide otherwise.
RANK = """
import sys
from lightning_modules.weights.choice import Need, resolve
from lightning_modules.weights.files import torchvision_file
print("up", flush=True)
print(resolve("auto", Need("a", lambda: True, lambda: None), Need("b", lambda: True, lambda: None)))
if sys.argv[1:]:
    print(torchvision_file(sys.argv[1]))
"""
LACKING = (Need("a", lambda: True, lambda: None), Need("b", lambda: False, lambda: None))
BOTH = (LACKING[0], Need("b", lambda: True, lambda: None))


def start_rank(*arguments, **variables):
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", RANK, *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Forget what was said and noted before, and all traces of a launcher."""
    choice.say_once.cache_clear()
    monkeypatch.setenv(agreement.NOTE, "{}")
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "SLURM_STEP_NUM_TASKS", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.delenv(name, raising=False)


class Door(BaseHTTPRequestHandler):
    """Serves one slow file and counts how often it was asked for."""

    data = b"weights" * 100
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        time.sleep(0.3)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        self.wfile.write(self.data)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(monkeypatch):
    """Return the address of a slow file, and count in `Door.asked`."""
    monkeypatch.setattr(Door, "asked", 0)
    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/net-{hashlib.sha256(Door.data).hexdigest()[:8]}.pth"
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_source_for_all_networks_and_one_sentence(capsys):
    assert resolve("auto", *LACKING) == "embedded"
    said = "a, b: taking embedded weights (the pretrained file of b is not in the cache and cannot be fetched)."
    assert capsys.readouterr().err == f"{said}\n"
    assert resolve("auto", LACKING[0], LACKING[0]) == "pretrained"
    assert "a, a: taking pretrained weights" in capsys.readouterr().err
    assert resolve("hed", *LACKING) == "hed"


def test_nothing_is_fetched_where_one_network_is_out_of_reach():
    fetched = []
    assert resolve("auto", Need("a", lambda: True, lambda: fetched.append("a")), LACKING[1]) == "embedded"
    assert not fetched


def test_ranks_that_lightning_starts_take_what_their_parent_decided(monkeypatch):
    assert resolve("auto", *LACKING) == "embedded"
    rank = start_rank(WORLD_SIZE="2", LOCAL_RANK="1")  # they inherit the environment, and the launcher adds this
    said = rank.communicate(timeout=120)
    assert said == ("up\nembedded\n", "")
    # Afterwards the parent is one of several itself, and keeps its own word.
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert resolve("auto", *BOTH) == "embedded"


def test_ranks_that_torchrun_starts_ask_the_first_and_fetch_once(monkeypatch, tmp_path, address, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    agent = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=120))
    launch = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(agent.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    other = start_rank(address, RANK="1", LOCAL_RANK="1", **launch)
    for name, value in {**launch, "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert other.stdout.readline() == "up\n"  # from here on both are about to ask and to fetch
    assert resolve("auto", *LACKING) == "embedded"
    assert "taking embedded weights" in capsys.readouterr().err
    path = weights_files.torchvision_file(address)
    assert other.communicate(timeout=120) == (f"embedded\n{path}\n", "")
    assert path.read_bytes() == Door.data
    assert Door.asked == 1


def test_of_two_that_want_a_file_at_once_one_fetches(monkeypatch, tmp_path, address):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    threads = [threading.Thread(target=weights_files.torchvision_file, args=(address,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Door.asked == 1


def test_ranks_that_have_met_ask_the_first(monkeypatch):
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    assert resolve("auto", *LACKING) == "embedded"
    for rank in (1, 0):  # and the first, if it is started again, keeps its word
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        monkeypatch.setenv(agreement.NOTE, "{}")
        assert resolve("auto", *BOTH) == "embedded"


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_processes_that_cannot_agree_are_told_to_name_the_source(monkeypatch, variable):
    monkeypatch.setenv(variable, "2")
    with pytest.raises(ImpastoError, match=r"started one by one .* --model\.weights pretrained"):
        resolve("auto", *LACKING)
    assert resolve("embedded", *LACKING) == "embedded"


def test_the_note_of_another_launch_does_not_count(monkeypatch):
    note = {"process": 1 if os.getppid() != 1 else 2, "answers": {"a, b": "pretrained"}}
    monkeypatch.setenv(agreement.NOTE, json.dumps(note))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ImpastoError, match="started one by one"):
        resolve("auto", *LACKING)


def test_a_process_that_stands_alone_passes_on_its_own_answers_only(monkeypatch):
    note = {"process": os.getppid(), "answers": {"a, b": "pretrained", "c": "pretrained"}}
    monkeypatch.setenv(agreement.NOTE, json.dumps(note))
    assert resolve("auto", *LACKING) == "embedded"
    assert json.loads(os.environ[agreement.NOTE]) == {"process": os.getpid(), "answers": {"a, b": "embedded"}}
