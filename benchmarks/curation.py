"""Pictures per second of `impasto curate`, by one process and by a pool, in turn.

python -m benchmarks.curation --checkpoint runs/stylistic/latest --pictures 2000 --side 1024 --rounds 3

Prints the median of both, with the pool's start-up in it, and the ratio of every round. Figures mean something on a
machine that does nothing else.
"""

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import lightning_modules  # noqa: F401  (installs the torchvision shim)

# isort: split
from PIL import Image

from benchmarks.results import write_json
from experiments.curating.executors import Executor, in_this_process, pool
from experiments.curating.rounds import run_rounds
from experiments.curating.scoring import Task, open_predictor
from experiments.painting.inference import find_checkpoint
from experiments.processors import processors


def write_archive(folder: Path, pictures: int, side: int, shards: int) -> list[Path]:
    """Write JPEG pictures of smooth noise into shards, and return these."""
    noise, written = np.random.default_rng(0), []
    for number in range(shards):
        written.append(folder / f"{number:05d}.tar")
        with tarfile.open(written[-1], "w") as archive:
            for key in range(number, pictures, shards):
                small = Image.fromarray(noise.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8))
                buffer = io.BytesIO()
                small.resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
                entry = tarfile.TarInfo(f"{key:09d}.jpg")
                entry.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(entry, buffer)
    return written


def seconds(execute: Executor, shards: Sequence[Path], checkpoint: Path, threads: int | None) -> float:
    """Return how long an executor takes for all shards."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = [
            Task(shard, Path(folder) / f"{shard.stem}.parquet", checkpoint, 0, "cpu", 32, threads) for shard in shards
        ]
        start = time.perf_counter()
        run_rounds(execute, tasks)
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/stylistic/latest"))
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--workers", type=int, default=processors())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    checkpoint = find_checkpoint(args.checkpoint).resolve()
    open_predictor(checkpoint, "cpu")  # both know it then; the pool's workers load it themselves
    with tempfile.TemporaryDirectory() as folder:
        shards = write_archive(Path(folder), args.pictures, args.side, args.shards)
        rounds = [
            (
                seconds(in_this_process, shards, checkpoint, None),
                seconds(pool(args.workers), shards, checkpoint, max(1, processors() // args.workers)),
            )
            for _ in range(args.rounds)
        ]
    loop, pooled = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratios = [one / other for one, other in rounds]
    print(f"one process   {args.pictures / loop:8.1f} pictures a second")
    print(f"{args.workers} workers     {args.pictures / pooled:8.1f} pictures a second")
    print(f"ratios        {'  '.join(f'{ratio:.2f}' for ratio in ratios)}")
    if args.json is not None:
        write_json({"loop": loop, "pool": pooled, "ratios": ratios, "pictures": args.pictures}, args.json)


if __name__ == "__main__":
    main()
