"""Every way in which a command can end early, in a user's words. Nothing in this file may import torch."""

import errno
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

HINT = "IMPASTO_TRACEBACK=1 shows where it comes from"
MEMORY = re.compile(
    r"out of memory"  # torch.OutOfMemoryError of every device, and the driver's own
    r"|DefaultCPUAllocator: (can't allocate|not enough) memory"
    r"|_STATUS_ALLOC_FAILED"  # cuBLAS and cuDNN
)
FULL = "The disk is full: {place} cannot be written; make room, or choose another place."
FORBIDDEN = "There is no permission for {place}: change it, or choose another place."
BLOCKED = "{place} cannot be made, because a file stands where a folder should be: choose another place."
FILES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EROFS: "The disk is read-only: {place} cannot be written; choose another place.",
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    errno.ENOTDIR: BLOCKED,
    errno.EEXIST: BLOCKED,
    errno.EISDIR: "{place} is a folder, where a file is needed.",
    errno.ENOENT: "There is no {place}.",
    errno.ENAMETOOLONG: "{place} cannot be written, because its name is too long: choose a shorter one.",
    errno.EMFILE: "Too many files are open: raise the limit with `ulimit -n 4096`, or lower --data.workers.",
}
TEXTS = {
    r"PytorchStreamWriter failed|file write failed": FULL.format(place="a checkpoint"),
    r"PytorchStreamReader|failed finding central directory|Ran out of input|pickle data was truncated|unpickling": (
        "A checkpoint or a file of weights is cut off or damaged: take another one."
    ),
    r"gloo/transport|ncclRemoteError|ncclSystemError|remote process exited": (
        "Another process of this training has ended, or its node cannot be reached: what it said itself is the cause."
    ),
}


class Terminated(SystemExit):
    """An end from outside, with what a user should know; 143 is the status that a shell gives SIGTERM."""

    code: int

    def __init__(self, sentence: str = "Terminated.", status: int = 143) -> None:
        super().__init__(status)
        self.sentence = sentence


def end_on_sigterm() -> None:
    """From now on SIGTERM ends this process like an exception, so that half-written files are removed.

    Lightning puts a handler of its own before this one while it trains, and stops after the iteration. A process that
    is ending already goes on with that: SLURM sends SIGTERM to a job that has just had itself requeued.
    """

    def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        ending = isinstance(sys.exc_info()[1], SystemExit)
        if signal.getsignal(signal.SIGTERM) is end and not ending:
            raise Terminated

    signal.signal(signal.SIGTERM, end)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no SIGTERM cut off last words: torchrun sends it to the ranks that are left as soon as one is dead."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal is handled in another
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory is what is missing; an illegal access to memory is a fault of the program.

    Examples:
        >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."))
        True
        >>> is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
        False
    """
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(MEMORY.search(str(error))))


def explained(error: BaseException) -> str:
    """Return one sentence about a failure: what is wrong and what to do, where its kind is known.

    Args:
        error: What a command let out.

    Returns:
        For a kind that is not known, its name, its first line and how to see more.
    """
    for cause in _causes(error):
        sentence = _known(cause)
        if sentence:
            return sentence
    return f"{type(error).__name__}: {_text(error).rstrip('.')} ({HINT})."


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what it was raised from, the outermost first."""
    chain: list[BaseException] = []
    while error not in chain:
        chain.append(error)
        error = error.__cause__ or error
    return chain


def _known(error: BaseException) -> str:
    from lightning_modules.errors import ImpastoError  # only now is the package known to be ours

    text = _text(error)
    if isinstance(error, ImpastoError):
        return text
    if is_out_of_memory(error):
        return f"The memory does not suffice: take a smaller batch or smaller pictures ({text.partition('. ')[0]})."
    if isinstance(error, ModuleNotFoundError) and find_spec(str(error.name).partition(".")[0]) is None:
        return f"The package '{error.name}' is not installed; `make setup` installs what is missing."
    if isinstance(error, OSError) and error.errno in FILES:
        return FILES[error.errno].format(place=_place(error))
    if type(error).__name__ == "MisconfigurationException":  # Lightning's, which is meant to be read
        return text
    return next((sentence for pattern, sentence in TEXTS.items() if re.search(pattern, str(error))), "")


def _text(error: BaseException) -> str:
    """Return the first line of a message; of what happened in a worker of a loader, the line that says it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    if "Original Traceback" not in str(error):
        return lines[0]
    return re.sub(r"^[\w.]+(?:Error|Exception): ", "", lines[-1])


def _place(error: OSError) -> str:
    path = error.filename2 or error.filename
    if path is None:
        return "a file"
    shown = Path(str(path))
    return str(shown.parent if shown.name.startswith(".") else shown)  # a temporary name tells nobody anything
