"""The progress of a run: a bar on a terminal, plain lines in a log file."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar

SHOWN = 3  # rich wraps the bar when more metrics are shown


def progress_bar() -> ProgressBar:
    """Return the bar that suits standard output."""
    return RichBar() if sys.stdout.isatty() else PlainProgress()


def shown_metrics(trainer: Trainer) -> dict[str, float]:
    """Return at most three metrics: those logged for the bar, else the first training terms."""
    metrics = trainer.progress_bar_metrics or {
        key.removeprefix("train/"): float(value)
        for key, value in trainer.callback_metrics.items()
        if key.startswith("train/")
    }
    return {key: float(value) for key, value in list(metrics.items())[:SHOWN]}


class RichBar(RichProgressBar):
    """Lightning's bar with at most three metrics."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=5, leave=False)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:  # noqa: ARG002
        """Return what the bar shows beside the counts."""
        return shown_metrics(trainer)


class PlainProgress(ProgressBar):
    """One line now and then: what a log file or a CI job can hold.

    Args:
        seconds: Least time between two lines.
    """

    def __init__(self, seconds: float = 15.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._start = self._printed = time.monotonic()
        self._enabled = True

    def disable(self) -> None:
        """Stay silent: Lightning calls this on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Print again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._start = self._printed = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:  # noqa: ARG002
        """Print a line when the last one is old enough."""
        now = time.monotonic()
        if not self._enabled or now - self._printed < self.seconds:
            return
        self._printed = now
        total = f"/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        values = "  ".join(f"{key} {value:.4g}" for key, value in shown_metrics(trainer).items())
        self.print(f"iteration {trainer.global_step}{total}  {now - self._start:.0f} s  {values}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say that a validation is done."""
        if self._enabled and not trainer.sanity_checking:
            values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
            text = "  ".join(f"{key.removeprefix('val/')} {value:.4g}" for key, value in values.items())
            self.print(f"validated at iteration {trainer.global_step}  {text}")

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print and flush, so that a log can be followed."""
        if self._enabled:
            print(*args, **{"flush": True, **kwargs})  # noqa: T201
