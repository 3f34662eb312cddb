import hashlib
import io
import os
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

STAND_IN = Path(__file__).parent / "stand_in" / "img2dataset.py"


def jpeg(number, side=48):
    """Return a picture that is like no other."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((side + number % 7, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers as its server's `answers` say: a path has bytes, or a function of this handler."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        answer = self.server.answers.get(self.path)
        if callable(answer):
            answer(self)
        elif answer is None:
            self.send_error(404)
        else:
            self.reply(answer)

    def reply(self, data, length=None, status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(data) if length is None else length, **headers}.items():
            if value != "none":
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):  # clients that are killed hang up
        pass


@contextmanager
def serving():
    served = Server(("127.0.0.1", 0), Handler)
    served.answers, served.asked, served.patience = {}, [], []
    served.url = f"http://127.0.0.1:{served.server_port}"
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


@pytest.fixture
def server():
    """Serve on the loopback what a test puts into `answers`."""
    with serving() as served:
        yield served


def short(data):
    """Send less than was announced."""
    return lambda handler: handler.reply(data[: len(data) // 2], length=len(data))


def cut(data):
    """Send less, and announce nothing."""
    return lambda handler: handler.reply(data[: len(data) // 2], length="none")


def late(handler):
    time.sleep(1.5)
    handler.reply(b"")


def trickling(handler):
    """Send a byte now and then, so that no wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(600):
        handler.wfile.write(b"x")
        time.sleep(0.05)
    handler.server.patience.append(handler.path)


def other_type(handler):
    handler.reply(b"<html>Sorry.</html>" * 20, Content_Type="image/jpeg")


def fill(server, count, *, slow=False):
    """Let a server have good pictures and everything that can go wrong.

    Returns the addresses, the hashes of the good pictures, and the reason of each failure.
    """
    good, failures, urls = set(), {}, []
    kinds = BAD | SLOW if slow else BAD
    for number in range(count):
        path, data = f"/{number:05d}.jpg", jpeg(number)
        bad = kinds.get(number % 20)
        if number % 20 == 7:
            data = jpeg(number - 1)  # the same picture under another address
        server.answers[path] = bad[0](data) if bad else data
        urls.append(server.url + path)
        if number % 20 == 9:
            urls.append(server.url + path)  # the same address again
        if bad:
            failures[server.url + path] = bad[1]
        else:
            good.add(hashlib.sha256(data).hexdigest())
    return urls, good, failures


@pytest.fixture
def museum(server):
    """Return `fill` for the server of the test."""
    return partial(fill, server)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Return a list of addresses on a server of all tests of a file, what is good there, and what is not."""
    with serving() as served:
        urls, good, failures = fill(served, 60)
        path = tmp_path_factory.mktemp("lists") / "urls.txt"
        path.write_text("# addresses\n" + "\n".join(urls) + "\n\nfile:///etc/hostname\n")
        yield path, good, failures | {"file:///etc/hostname": "no http address"}, served


BAD = {
    1: (lambda _: None, "HTTP 404 Not Found"),
    2: (short, "cut off"),
    3: (cut, "cut off"),
    4: (lambda _: other_type, "not a picture"),
    5: (lambda _: jpeg(5, side=20), "its shorter side has less than 32 pixels"),
    11: (lambda _: lambda handler: handler.send_error(503), "HTTP 503 Service Unavailable"),
}
SLOW = {13: (lambda _: late, "timed out"), 15: (lambda _: trickling, "timed out")}


@pytest.fixture(scope="module")
def data_env(tmp_path_factory):
    """Return an environment whose interpreter finds a stand-in for img2dataset and nothing else of it."""
    python = tmp_path_factory.mktemp("data-env") / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    python.chmod(0o755)
    return python.parents[1]


@pytest.fixture
def real_env():
    """Return the environment that `make data-env` makes, or one that IMPASTO_DATA_ENV names."""
    folder = Path(os.environ.get("IMPASTO_DATA_ENV", ".venv-data"))
    if not (folder / "bin" / "python").is_file():
        pytest.skip("there is no environment with img2dataset: make data-env")
    return folder


@pytest.fixture
def slow_answer():
    return trickling
