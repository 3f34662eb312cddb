"""How a process shares the machine's processors with others. Nothing in this file may import torch.

OpenMP reads the environment when torch is imported, and never again.
"""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
SPINS = 1_000
"""Turns that a thread waits awake for the others before it sleeps. libgomp's own 300,000, and still 10,000, hold a
processor at every barrier that another training could use; `benchmarks.side_by_side` compares them."""
BLOCKTIME = 1
"""The same for Intel's and LLVM's OpenMP, in milliseconds; their own is 200."""


def share_processors(environment: MutableMapping[str, str]) -> None:
    """Bound how long threads wait awake, and take no more threads than there are processors to run them.

    Args:
        environment: Variables of this process; what the user has set there stays as it is.
    """
    if not any(name in environment for name in WAITING):
        environment["GOMP_SPINCOUNT"] = str(SPINS)
        environment["KMP_BLOCKTIME"] = str(BLOCKTIME)
    available = processors()
    if available < len(_allowed()) and not any(name in environment for name in THREADS):
        environment["OMP_NUM_THREADS"] = str(available)


def processors(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processors this process may keep busy: those it may run on, or the share of its container.

    OpenMP knows the first number and not the second: in a container with 2 of 64 processors it starts 64 threads.

    Args:
        group: Where the kernel shows the control group of this process, version 2 or 1.
    """
    return max(1, math.ceil(min(len(_allowed()), _quota(group))))


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _quota(group: Path) -> float:
    """Return the processors' worth of time that a control group may use; infinity where nobody has set a limit."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            names = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
            quota, period = ((group / name).read_text(encoding="ascii").strip() for name in names)
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota in {"max", "-1"} else float(quota) / float(period)
