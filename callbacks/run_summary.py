"""RunSummary: the last word of a run, as `summary.json` and as a table."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from rich.table import Table

from lightning_modules.files import write_atomically


class RunSummary(Callback):
    """Write ``summary.json`` when a fit ends, and print its metrics and the paths of what the run left behind.

    A callback that computes metrics explains them in an attribute ``conventions``: metric key -> one line.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._start = time.monotonic()
        self._validation: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Keep the time spent and the newest metrics, for a run that is continued, perhaps without a validation."""
        return {"seconds": self._elapsed(), "validation": self._validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Add the time spent before a resume, and restore the metrics."""
        self._seconds = float(state_dict["seconds"])
        self._validation = dict(state_dict.get("validation", {}))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._start = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Remember the newest metrics."""
        if not trainer.sanity_checking:
            metrics = trainer.callback_metrics.items()
            self._validation = {key: float(value) for key, value in metrics if key.startswith("val/")}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print."""
        folder = trainer.log_dir  # asks every rank
        if not trainer.is_global_zero or folder is None or trainer.logger is None:
            return
        summary = self._summary(trainer, pl_module)
        path = Path(folder) / "summary.json"
        write_atomically(path, json.dumps(summary, indent=2) + "\n")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary.update(summary["metrics"])
                known = {key: value for key, value in summary.items() if key != "metrics"}
                logger.experiment.config.update({"result": known}, allow_val_change=True)
        self._print(summary, path.parent)

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._start

    def _summary(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        conventions: dict[str, str] = {}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            conventions |= getattr(callback, "conventions", {})
        return {
            "method": getattr(pl_module, "method", type(pl_module).__name__),
            "profile": _profile(Path(trainer.loggers[0].log_dir or ".") / "config.yaml"),
            "seed": int(os.environ.get("PL_GLOBAL_SEED", "0")),
            "command": shlex.join(["python", "-m", "experiments", *sys.argv[1:]]),
            "commit": commit(),
            "iterations": trainer.global_step,
            "seconds": round(self._elapsed(), 1),
            "device": _device(trainer.strategy.root_device),  # a module has left its GPU when a fit ends
            "metrics": self._validation,
            "conventions": {key: conventions[key] for key in self._validation if key in conventions},
        }

    @staticmethod
    def _print(summary: dict[str, Any], folder: Path) -> None:
        console = Console()
        if summary["metrics"]:
            table = Table(title=f"{summary['method']}: {summary['iterations']} iterations, {summary['seconds']:.0f} s")
            table.add_column("metric")
            table.add_column("value", justify="right")
            for key, value in sorted(summary["metrics"].items()):
                table.add_row(key, f"{value:.4f}")
            console.print(table)
        best, last = folder / "checkpoints/best.ckpt", folder / "checkpoints/last.ckpt"
        checkpoint = best if best.is_file() else last
        paths = {
            "checkpoint": checkpoint,
            "diffusers": checkpoint.with_suffix(""),  # of `callbacks.adapter_files.AdapterFiles`
            "samples": folder / "samples",
            "metrics": folder / "metrics.csv",
            "summary": folder / "summary.json",
        }
        for name, path in paths.items():
            if path.exists():
                print(f"{name:<11}{path}")  # noqa: T201


def _profile(config: Path) -> str | None:
    if not config.is_file():
        return None
    profile = yaml.safe_load(config.read_text(encoding="utf-8")).get("profile")
    return None if profile is None else str(profile)


def commit() -> str | None:
    """Return which version of the repository runs, with ``-dirty`` where it was changed; None outside of git."""
    root = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"
