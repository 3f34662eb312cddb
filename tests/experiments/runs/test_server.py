"""A W&B server that is not there, hangs, refuses or dies on the way: the run does not care."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import wandb

from experiments.cli import execute
from experiments.runs import run as runs


class Handler(BaseHTTPRequestHandler):
    """Answers by its server's ``mode``: ``hangs``, ``errs``, or ``dies`` once it has taken a run."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.server.mode == "dies" and self.path == "/graphql" and not self.server.done:
            self.server.done = b"UpsertBucket" in asked
            self.answer(200, {"data": RUN})
        elif self.server.mode == "hangs":
            self.server.enough.wait(120)
        else:
            self.answer(500, {"error": "no"})

    do_GET = do_POST  # noqa: N815

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


PROJECT = {"id": "p", "name": "impasto", "entity": {"id": "e", "name": "me"}}
BUCKET = {"id": "b", "name": "r", "displayName": "r", "description": "", "config": "{}", "sweepName": None,
          "historyLineCount": 0, "project": PROJECT}  # fmt: skip
RUN = {"model": {"bucket": None}, "upsertBucket": {"bucket": BUCKET, "inserted": True}}


@pytest.fixture
def server(request, monkeypatch):
    """Stand in for W&B's server in one mode; ``absent`` is a port at which nobody listens."""
    wandb.teardown()  # it remembers where the server was
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(runs, "END", 2)
    if request.param == "absent":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        yield request.param
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads, listening.block_on_close = True, False
        listening.mode, listening.done, listening.enough = request.param, False, threading.Event()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.server_port}")
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield request.param
        listening.enough.set()
        listening.shutdown()


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        ("absent", "W&B cannot be reached"),
        ("hangs", "W&B cannot be reached"),
        ("errs", "W&B cannot be reached"),
        ("dies", "W&B has not taken all of the run within 2 s: `wandb sync "),
    ],
    indirect=["server"],
)
def test_a_run_does_not_depend_on_the_server(server, sentence, stub_yaml, monkeypatch, capsys):
    if server != "dies":
        monkeypatch.setattr(runs, "BEGINNING", 2)
    start = time.monotonic()
    assert execute(["fit", "--config", str(stub_yaml), "--run_name", "r", "--wandb", "online"]) == 0
    assert time.monotonic() - start < 90
    folder = stub_yaml.parent / "runs/stub_method/r"
    assert {"config.yaml", "metrics.csv", "summary.json", "samples", "checkpoints", "report"} <= {
        path.name for path in folder.iterdir()
    }
    assert list(folder.glob("wandb/*run-*/run-*.wandb"))
    out = capsys.readouterr().out
    told = [line for line in out.splitlines() if sentence in line]
    assert len(told) == 1, out
