"""Who paints just now, and who has had enough of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightning_modules.errors import ImpastoError


class StoppedError(ImpastoError):
    """The user wants the painting no more."""


class Sessions:
    """Lets one request of a page end another one of the same page, and of no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, threading.Event] = {}

    @contextmanager
    def running(self, session: str) -> Iterator[Callable[[], None]]:
        """Note that a page has a painting made.

        Args:
            session: Of the page; every open tab has its own.

        Yields:
            What to call now and then: it raises `StoppedError` once the page wants no more.
        """
        stop = threading.Event()
        with self._lock:
            self._running[session] = stop

        def go_on() -> None:
            if stop.is_set():
                raise StoppedError("Stopped.")

        try:
            yield go_on
        finally:
            with self._lock:
                if self._running.get(session) is stop:
                    del self._running[session]

    def stop(self, session: str) -> None:
        """End what a page has made, at its next step; where there is nothing, do nothing."""
        with self._lock:
            if session in self._running:
                self._running[session].set()
