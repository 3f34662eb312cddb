"""Fetching by img2dataset, a shard at a time, so that whatever ends it nothing is lost but shards at hand.

It writes in place, lets its processes outlive it and ends in success when shards failed. Hence every start gets a
folder of its own, from which whole shards are moved away; nobody reads the rest of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from experiments.public_data.extras import extra
from experiments.public_data.pool import work_progress
from experiments.public_data.workplace import Workplace
from lightning_modules.errors import ImpastoError

_LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL = 0.2  # seconds
_LOG = "img2dataset.log"


class Engine(NamedTuple):
    """How img2dataset fetches.

    Attributes:
        environment: The virtual environment that it is in.
        distributor: Who spreads shards: multiprocessing, ray or pyspark.
        processes: A shard each.
        threads: A picture each, per process.
        timeout: Seconds to wait for an answer or for more of it.
        picture_seconds: Seconds for a whole picture.
        retries: How often a picture is asked for again.
    """

    environment: Path
    distributor: str
    processes: int
    threads: int
    timeout: float
    picture_seconds: float
    retries: int

    def python(self) -> Path:
        """Return the environment's interpreter.

        Raises:
            ImpastoError: If there is none.
        """
        for path in (self.environment / "bin" / "python", self.environment / "Scripts" / "python.exe"):
            if path.is_file():
                return path.absolute()
        raise ImpastoError(
            f"There is no environment with img2dataset in {self.environment}: `make data-env` makes it, and --data-env "
            "names another."
        )


def fetch_all(place: Workplace, engine: Engine, shard_size: int) -> None:
    """Fetch every shard that is not there yet.

    Raises:
        ImpastoError: If there is no img2dataset, or shards fail again and again.
    """
    python = engine.python()
    _adopt_all(place)
    missing = _missing(place)
    while missing:
        command = [str(python), "-I", str(_LAUNCHER), json.dumps(_options(place, engine, _new_run(place), shard_size))]
        _run(place, engine, command)
        before, missing = missing, _missing(place)
        if missing == before:
            raise ImpastoError(_stuck(place, len(missing)))


def _adopt_all(place: Workplace) -> None:
    """Keep what earlier starts finished, and remove the rest of them."""
    for run in sorted(place.hidden.glob("run-*")):
        _adopt(place, run)
        shutil.rmtree(run, ignore_errors=True)


def _run(place: Workplace, engine: Engine, command: list[str]) -> None:
    count = len(place.shards())
    with work_progress("Fetching shards") as bar, _Job(command, place, engine) as job:
        task = bar.add_task("", total=count)
        while job.poll() is None:
            time.sleep(_POLL)
            for run in place.hidden.glob("run-*"):
                _adopt(place, run)
            bar.update(task, completed=count - len(_missing(place)), refresh=True)
    _adopt_all(place)


def _missing(place: Workplace) -> list[int]:
    return [shard for shard in place.shards() if not place.is_fetched(shard)]


def _new_run(place: Workplace) -> Path:
    """Make a folder in which img2dataset takes the shards that are there for done."""
    run = place.hidden / f"run-{uuid.uuid4().hex}"
    run.mkdir(parents=True)
    for shard in place.shards():
        if place.is_fetched(shard):
            (run / f"{shard:05d}_stats.json").write_text("{}", encoding="utf-8")
    return run


def _options(place: Workplace, engine: Engine, run: Path, shard_size: int) -> dict[str, Any]:
    return {
        "url_list": str(place.plan().absolute()),
        "input_format": "parquet",
        "output_folder": str(run.absolute()),
        "output_format": "webdataset",
        "number_sample_per_shard": shard_size,
        "disable_all_reencoding": True,  # bytes as they came: pictures are looked at afterwards
        "resize_mode": "no",
        "extract_exif": False,
        "compute_hash": None,
        "processes_count": engine.processes,
        "thread_count": engine.threads,
        "timeout": engine.timeout,
        "retries": engine.retries,
        "distributor": engine.distributor,
        "user_agent_token": "impasto",
    }


class _Job:
    """img2dataset at work: it and its processes end with the block, and with this process whatever ends that."""

    def __init__(self, command: list[str], place: Workplace, engine: Engine) -> None:
        environment = os.environ | {
            "IMPASTO_PICTURE_SECONDS": str(engine.picture_seconds),
            "NO_ALBUMENTATIONS_UPDATE": "1",  # a package of img2dataset's asks the network for its newest version
        }
        with (place.hidden / _LOG).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  the interpreter that the user named
                command,
                stdin=subprocess.PIPE,  # ends when this process does
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):  # nobody of the group is left
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _adopt(place: Workplace, run: Path) -> None:
    """Move whole shards away: img2dataset writes a shard's statistics when the rest is closed."""
    for stats in sorted(run.glob("*_stats.json")):
        name = stats.name.removesuffix("_stats.json")
        parts = [run / f"{name}.parquet", run / f"{name}.tar"]
        if all(part.is_file() for part in parts) and _is_json(stats) and _is_parquet(parts[0]):
            parts[0].replace(place.fetched(int(name)))
            parts[1].replace(place.raw(int(name)))


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def _is_parquet(path: Path) -> bool:
    try:
        extra("pyarrow.parquet").read_metadata(path)
    except (OSError, extra("pyarrow").ArrowException):
        return False
    return True


def _stuck(place: Workplace, count: int) -> str:
    log = place.hidden / _LOG
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return (
        f"img2dataset cannot fetch {count} of {len(place.shards())} shards "
        f"({lines[-1] if lines else 'it said nothing'}): see {log}; the same command goes on."
    )
