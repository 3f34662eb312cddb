"""Train alone and beside a second training, with threads that wait for each other in different ways.

python -m benchmarks.side_by_side --method contraast --iterations 40

Prints seconds per iteration, of the clock and of the processors, for every way of waiting: libgomp's own, asleep at
once (`OMP_WAIT_POLICY=PASSIVE`), and awake for a bounded number of turns (`GOMP_SPINCOUNT`), of which
`experiments.processors.SPINS` is the one that `impasto` sets. Figures mean something on a machine that does nothing
else. All processes of one row wait for each other before they are timed, and every row is the median of its rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning_modules  # noqa: F401  (installs the torchvision shim)

# isort: split
from lightning.pytorch import Callback

from benchmarks.results import write_json
from experiments.processors import SPINS, THREADS, WAITING

WARMUP = 5
WAYS: dict[str, dict[str, str]] = {
    "libgomp's own": {},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{f"awake for {turns}": {"GOMP_SPINCOUNT": str(turns)} for turns in sorted({1_000, 10_000, 100_000, SPINS})},
}


class Clock(Callback):
    """Times the iterations after the first few, which start when every process of the row is there."""

    def __init__(self, folder: str, name: str, processes: int) -> None:
        self.folder, self.name, self.processes = Path(folder), name, processes
        self.start = (0.0, 0.0)

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:  # noqa: ARG002
        """Wait for the others, or look at the clock."""
        if trainer.global_step == WARMUP:
            (self.folder / f"{self.name}.ready").touch()
            while len([*self.folder.glob("*.ready")]) < self.processes:
                time.sleep(0.01)
            self.start = (time.perf_counter(), time.process_time())
        if trainer.global_step == trainer.max_steps:
            spent = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
            write_json([seconds / (trainer.max_steps - WARMUP) for seconds in spent], self.folder / f"{self.name}.json")


def measure(method: str, iterations: int, processes: int, variables: dict[str, str]) -> tuple[float, float]:
    """Return seconds per iteration of the slowest of some processes that train at once: by the clock, of processors."""
    environment = {key: value for key, value in os.environ.items() if key not in WAITING} | variables
    command = [sys.executable, "-m", "benchmarks.side_by_side", "--method", method, "--iterations", str(iterations)]
    with tempfile.TemporaryDirectory() as folder:
        started = [
            subprocess.Popen(  # noqa: S603
                [*command, "--worker", folder, str(number), str(processes)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number in range(processes)
        ]
        if max(process.wait() for process in started):
            raise SystemExit(f"A training of {method} failed: try `python -m experiments fit` with its tiny profile.")
        spent = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("*.json")]
    return max(clock for clock, _ in spent), max(processor for _, processor in spent)


def train(method: str, iterations: int, folder: str, name: str, processes: str) -> None:
    """Train the tiny profile, timed by a `Clock`, in this process."""
    from experiments.training import main

    clock = {"folder": folder, "name": name, "processes": int(processes)}
    overlay = Path(folder) / f"{name}.yaml"
    write_json(
        {"trainer": {"callbacks+": [{"class_path": "benchmarks.side_by_side.Clock", "init_args": clock}]}}, overlay
    )
    options = {"max_steps": WARMUP + iterations, "limit_val_batches": 0, "num_sanity_val_steps": 0}
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary"), "false")
    words = [f"--trainer.{key}={value}" for key, value in {**options, **quiet}.items()]
    where = [f"--runs_dir={folder}/runs", f"--run_name={name}", "--wandb=disabled", "--trainer.accelerator=cpu"]
    main(["fit", "--config", f"experiments/{method}/tiny.yaml", "--config", str(overlay), *words, *where])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--method", default="contraast")
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="trainings side by side")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        train(args.method, args.iterations, *args.worker)
        return
    threads = ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ) or "as OpenMP counts"
    print(f"{args.method}, {args.iterations} iterations, threads {threads}; seconds per iteration: clock (processors)")
    rows: dict[str, dict[int, tuple[float, float]]] = {}
    for way, variables in WAYS.items():
        rows[way] = {}
        for count in (1, args.processes):
            rounds = [measure(args.method, args.iterations, count, variables) for _ in range(args.rounds)]
            clock, processor = (statistics.median(column) for column in zip(*rounds, strict=True))
            rows[way][count] = (clock, processor)
        texts = [f"{count} at once {clock:.2f} ({cpu:.2f})" for count, (clock, cpu) in rows[way].items()]
        print(f"{way:<16}  " + "   ".join(texts), flush=True)
    if args.json:
        write_json(rows, args.json)


if __name__ == "__main__":
    main()
