"""What a Weights & Biases server that is not there, hangs, refuses or stops answering costs a run.

Every run is a short training in a process of its own, beside a stand-in for the server on this machine; rounds go
through all kinds of server in turn, and what is compared is medians. Seconds of training are those of the run's
summary; the rest is what comes before and after: a server has 15 s to take a run and 30 s to take what is left at the
end, see `experiments.runs.run`.

    python -m benchmarks.wandb_server --iterations 60 --rounds 3
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.results import write_json

BASE = "disabled"
PRESENT = ("hangs", "errs", "dies", "stalls")
KINDS = (BASE, "offline", "absent", *PRESENT)
PROJECT = {"id": "p", "name": "impasto", "entity": {"id": "e", "name": "me"}}
BUCKET = {"id": "b", "name": "r", "displayName": "r", "description": "", "config": "{}", "sweepName": None,
          "historyLineCount": 0, "project": PROJECT}  # fmt: skip
RUN = {"model": {"bucket": None}, "upsertBucket": {"bucket": BUCKET, "inserted": True}}
LONGEST = 120
"""Seconds that a request hangs."""


class StandIn(ThreadingHTTPServer):
    """A server that hangs, errs, or takes a run and then dies or stalls.

    Args:
        kind: One of `PRESENT`.
    """

    daemon_threads, block_on_close = True, False

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind, self.has_run, self.enough = kind, False, threading.Event()

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("content-length") or 0))
        kind = self.server.kind
        if kind in ("dies", "stalls") and self.path == "/graphql" and not self.server.has_run:
            self.server.has_run = b"UpsertBucket" in asked
            self._answer(200, {"data": RUN})
        elif kind in ("hangs", "stalls"):
            self.server.enough.wait(LONGEST)
        else:
            self._answer(500, {"error": "no"})

    do_GET = do_POST  # noqa: N815

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def stand_in(kind: str) -> Iterator[str]:
    """Yield the address of a server of one of `KINDS`, which for ``absent`` is a port where nobody listens."""
    if kind not in PRESENT:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{free.getsockname()[1]}"
        yield address
        return
    with StandIn(kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.url
        finally:
            server.enough.set()
            server.shutdown()


def measure(kind: str, options: argparse.Namespace) -> dict[str, float]:
    """Train once, and return seconds of training and of all that is around it."""
    mode = kind if kind in (BASE, "offline") else "online"
    with tempfile.TemporaryDirectory() as folder, stand_in(kind) as address:
        command = [sys.executable, "-m", "experiments", "fit", "--config", str(options.config), "--wandb", mode]
        command += ["--runs_dir", folder, "--run_name", "r", "--trainer.max_steps", str(options.iterations)]
        command += ["--trainer.limit_val_batches", "0"]
        told = {"WANDB_API_KEY": "x" * 40, "WANDB_BASE_URL": address, "WANDB_MODE": mode}
        start = time.monotonic()
        done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=False)  # noqa: S603
        whole = time.monotonic() - start
        if done.returncode:
            raise SystemExit(f"The training beside a server that is {kind} failed:\n{done.stdout}{done.stderr}")
        summary = json.loads(next(Path(folder).glob("*/r/summary.json")).read_text(encoding="utf-8"))
    return {"training": summary["seconds"], "around": whole - summary["seconds"]}


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("experiments/adain/tiny.yaml"))
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help=f"beside '{BASE}'")
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    kinds = list(dict.fromkeys([BASE, *options.kinds]))
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for turn in range(options.rounds):
        for kind in kinds if turn % 2 == 0 else reversed(kinds):
            found[kind].append(measure(kind, options))
            print(f"# {kind}: {found[kind][-1]}", file=sys.stderr, flush=True)
    print("| server | training, s | ratio | before and after, s |\n|---|---|---|---|")
    middle = {k: {n: statistics.median(r[n] for r in rows) for n in rows[0]} for k, rows in found.items()}
    for kind in kinds:
        training, around = middle[kind]["training"], middle[kind]["around"]
        print(f"| {kind} | {training:.1f} | {training / middle[BASE]['training']:.3f} | {around:.1f} |")
    if options.out:
        write_json({"rows": found, "settings": vars(options)}, options.out)


if __name__ == "__main__":
    main()
