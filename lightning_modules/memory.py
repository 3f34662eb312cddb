"""How much memory is free, and whether a large picture fits into it whole."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch

LARGEST_TILE, SMALLEST_TILE = 1536, 256
"""Sides of tiles, in pixels: the halos cost a quarter of the time at the one, and more than the tile at the other."""
LARGEST_WHOLE = 4 * 2**30
"""Bytes that a picture may take whole, however many are free: a larger one gains nothing by it."""
SHARE = 0.5
"""Of the free memory; the rest is for what is kept of the whole picture, and for others on this machine."""
MEMINFO = Path("/proc/meminfo")
GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def tile_side(pixels: int, bytes_per_pixel: float, device: torch.device, wanted: int | None = None) -> int:
    """Return the side of the tiles that a picture is painted in, in pixels; 0 for the whole picture at once.

    Args:
        pixels: Of the picture, or of all pictures of a batch.
        bytes_per_pixel: What a network takes at its peak, for every pixel that it sees at once.
        device: Where it runs.
        wanted: What the user asks for; None chooses by the memory that is free now.

    Returns:
        A multiple of 64, or what was asked for.
    """
    if wanted is not None:
        return wanted
    free = free_memory(device)
    room = LARGEST_WHOLE if free is None else min(LARGEST_WHOLE, SHARE * free)
    if pixels * bytes_per_pixel <= room:
        return 0
    side = math.sqrt(room / bytes_per_pixel)
    return int(min(LARGEST_TILE, max(SMALLEST_TILE, side // 64 * 64)))


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that this process may still take on a device; None where nobody tells."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type != "cpu":
        return None
    known = [room for room in (_available(), *_group_rooms()) if room is not None]
    return min(known, default=None)


def _available() -> int | None:
    """Return what Linux can give without swapping."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _group_rooms() -> Iterator[int | None]:
    """Yield what is left under the limit of every control group that this process is in: containers have one."""
    try:
        entries = [line.split(":", 2) for line in GROUP.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, place in entries:
        old = "memory" in controllers.split(",")
        if not old and controllers:
            continue
        root = GROUPS / "memory" if old else GROUPS
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if old else ("memory.max", "memory.current")
        # Inside a container the path may be the host's, of which only the root is mounted.
        folder = root / place.strip("/")
        yield from (_room(part, *names) for part in (folder, *folder.parents) if part.is_relative_to(root))


def _room(folder: Path, limit: str, usage: str) -> int | None:
    try:
        room = int((folder / limit).read_text()) - int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no limit is no number
        return None
    # Files that were read stay in memory until somebody wants their place.
    return room + int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
