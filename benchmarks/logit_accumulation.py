"""Memory and time of effective batches: ContraAST, small networks, batches of four stylised pictures.

OMP_NUM_THREADS=1 python -m benchmarks.logit_accumulation --size 96 --steps 3

Each row is a process of its own, a Trainer and a few steps: with logit accumulation (`effective_batch`), with plain
accumulation (`accumulate`), whose contrast stays within a batch, and with one batch of that size. `peak` is the most
memory the process held (on a GPU: that PyTorch had allocated), `step` the part of it that came after the networks were
loaded. The first step does not count in time, which on a CPU is that of all threads.
"""

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning_modules  # noqa: F401  (installs the torchvision shim)

# isort: split
import torch
from lightning import Trainer
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from benchmarks.meter import resident
from benchmarks.results import write_json
from lightning_modules.contraast import ContraAST
from lightning_modules.networks.mirrored_decoder import Texture
from lightning_modules.types import StyleBatch

MICRO = 4
"""Stylised pictures of a batch."""
WAYS = ("effective", "accumulate", "whole")


class Clock(Callback):
    """Notes the time when a step is over."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:  # noqa: ARG002
        """Note it."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        if pl_module.window_ends:
            self.times.append(time.process_time() if pl_module.device.type == "cpu" else time.perf_counter())


def batch(half: int, side: int, seed: int) -> StyleBatch:
    """Return ``half`` contents and styles of noise."""
    generator = torch.Generator().manual_seed(seed)
    content, style = (torch.rand(half, 3, side, side, generator=generator) for _ in range(2))
    numbers = torch.arange(half)
    return StyleBatch(content, style, numbers, [""] * half, numbers)


def measure(way: str, pictures: int, size: int, steps: int, device: str) -> dict[str, float]:
    """Train for ``steps`` steps of ``pictures`` stylised pictures, and return what that took."""
    torch.manual_seed(0)
    settings = {"effective": {"effective_batch": pictures}, "accumulate": {"accumulate": pictures // MICRO}}
    adam = partial(torch.optim.Adam, lr=1e-4)
    model = ContraAST(
        adam,
        adam,
        weights="embedded",
        skips=12,
        texture=Texture(),
        discriminator_scales=2,
        discriminator_width=24,
        **settings.get(way, {}),
    )
    own = pictures if way == "whole" else MICRO
    count = steps * pictures // own
    clock = Clock()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(accelerator=device, devices=1, max_steps=steps, callbacks=[clock], **quiet)
    before = resident("VmRSS") / 1024
    # Made one at a time, as a data module does.
    data = DataLoader(range(count), batch_size=None, collate_fn=lambda number: batch(own // 2, size, number))
    trainer.fit(model, data)
    peak = resident("VmHWM") / 1024
    if device == "cuda":
        before, peak = 0.0, torch.cuda.max_memory_allocated() / 2**20
    seconds = (clock.times[-1] - clock.times[0]) / (len(clock.times) - 1)
    return {"peak": peak, "step": peak - before, "seconds": seconds / pictures}


def apart(way: str, pictures: int, options: argparse.Namespace) -> dict[str, float]:
    """Return what `measure` does, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.logit_accumulation", "--only", way, str(pictures)]
    command += ["--size", str(options.size), "--steps", str(options.steps), "--device", options.device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[4, 16, 64], help="effective batches")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--size", type=int, default=96, help="side of the pictures in pixels")
    parser.add_argument("--steps", type=int, default=3, help="optimiser steps, the first of which does not count")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs=2, metavar=("WAY", "PICTURES"), help="one row, in this process, as JSON")
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    if options.only:
        way, pictures = options.only
        print(json.dumps(measure(way, int(pictures), options.size, options.steps, options.device)))
        return
    print("| pictures | way | peak, MiB | step, MiB | s per picture |\n| --- | --- | --- | --- | --- |")
    rows = []
    for pictures in options.pictures:
        for way in options.ways:
            row = apart(way, pictures, options)
            rows.append({"pictures": pictures, "way": way, **row})
            figures = f"{row['peak']:.0f} | {row['step']:.0f} | {row['seconds']:.3f}"
            print(f"| {pictures} | {way} | {figures} |", flush=True)
    if options.out:
        write_json({"rows": rows, "settings": vars(options)}, options.out)


if __name__ == "__main__":
    main()
