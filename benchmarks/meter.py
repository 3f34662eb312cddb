"""Time and memory of one call, on the CPU or on a GPU."""

import ctypes
import gc
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch


class Meter:
    """Measures calls on one device."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def seconds(self, run: Callable[[], Any]) -> float:
        """Return the time of one call."""
        if self.device.type == "cpu":
            start = time.process_time()
            run()
            return time.process_time() - start
        torch.cuda.synchronize(self.device)
        start = time.perf_counter()
        run()
        torch.cuda.synchronize(self.device)
        return time.perf_counter() - start

    def best(self, run: Callable[[], Any], first: float) -> float:
        """Return the best time of all repeats, ``first`` being the one of the call so far."""
        repeats = self.repeats if first < 5 else 0  # what takes seconds is exact enough
        return min([first, *(self.seconds(run) for _ in range(repeats))])

    def first(self, run: Callable[[], Any]) -> tuple[float, float]:
        """Return time and memory of one call, in seconds and in MiB on top of what was there (nan if nobody tells)."""
        gc.collect()
        if self.device.type != "cpu":
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            seconds = self.seconds(run)
            return seconds, (torch.cuda.max_memory_allocated(self.device) - before) / 2**20
        known = os.access("/proc/self/clear_refs", os.W_OK)
        with suppress(OSError, AttributeError):  # not everywhere is a glibc
            ctypes.CDLL(None).malloc_trim(0)  # what calls before gave back would hide what this one takes
        if known:
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # Linux: the peak starts anew
        before = resident("VmRSS") if known else 0
        seconds = self.seconds(run)
        return seconds, (resident("VmHWM") - before) / 1024 if known else math.nan


def resident(line: str) -> int:
    """Return an entry of this process's memory in KiB: ``VmRSS`` is what it holds, ``VmHWM`` the most it held."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(entry.split()[1]) for entry in status if entry.startswith(line))
