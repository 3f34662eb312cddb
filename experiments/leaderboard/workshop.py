"""Commands of this repo, each in a process of its own, with few threads and a log."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.errors import ImpastoError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
PATIENCE = 60
"""Seconds that a process has to end in order, with its checkpoint written, before it is killed."""


class Workshop:
    """Runs commands and knows which are running, so that all can be ended at once.

    Args:
        threads: Of every process. One is best where several work side by side.
    """

    def __init__(self, threads: int = 1) -> None:
        self._environment = os.environ | dict.fromkeys(THREADS, str(threads))
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, words: Sequence[str], log: Path) -> None:
        """Run one command to its end.

        Args:
            words: What follows ``impasto``.
            log: File that gets all that it prints, behind what is there.

        Raises:
            ImpastoError: If it fails; with its own last words.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "experiments", *words]
        with log.open("ab") as out:
            out.write(f"$ impasto {' '.join(words)}\n".encode())
            out.flush()
            process = self._start(command, out)
            try:
                status = process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
        if status:
            raise ImpastoError(_last_words(log, status))

    def close(self) -> None:
        """End what is running, and start nothing more; what was cut off goes on another time."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()

    def _start(self, command: Sequence[str], out: object) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ImpastoError("It was stopped before it began.")
            # A session of its own: Ctrl-C is for the board, which ends each process once and in order.
            process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,  # type: ignore[call-overload]  # a binary file
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
            self._running.add(process)
            return process


def _last_words(log: Path, status: int) -> str:
    """Return the sentence that a command has ended with, or where to read more."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = next((line for line in reversed(lines) if line.startswith("impasto")), "")
    sentence = said.partition(": ")[2]
    return sentence or f"The command ended with status {status}: read {log}."
