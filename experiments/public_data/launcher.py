"""Runs img2dataset in its own environment; no module of ours can be imported there.

What img2dataset lacks is added here: it ends with the command that started it, however that ends, and a server that
sends a byte now and then does not hold it for ever. Its processes import this file again, so that the latter is true in
them as well.
"""

import http.client
import importlib
import json
import os
import signal
import sys
import threading
import time

PART = 2**16
MOST = 2**28  # bytes of a picture


class PatientResponse(http.client.HTTPResponse):
    """A response whose whole body must come in a certain time."""

    def read(self, amt: int | None = None) -> bytes:
        """Return the body, or fail with a reason."""
        if amt is not None:
            return super().read(amt)
        end = time.monotonic() + float(os.environ["IMPASTO_PICTURE_SECONDS"])
        body = bytearray()
        while part := self.read1(PART):
            body += part
            if time.monotonic() > end:
                raise TimeoutError("timed out: the whole took too long")
            if len(body) > MOST:
                raise ValueError(f"larger than {MOST} bytes")
        if self.length:
            raise http.client.IncompleteRead(bytes(body), self.length)
        return bytes(body)


def end_with_parent() -> None:
    """Kill this process and all that it started once nobody holds the other end of standard input."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


http.client.HTTPConnection.response_class = PatientResponse

if __name__ == "__main__":
    end_with_parent()
    importlib.import_module("img2dataset").download(**json.loads(sys.argv[1]))
