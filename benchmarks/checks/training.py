"""Training steps of every experiment at its full profile's batch: float32, bfloat16, compiled."""

import inspect
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest import mock

import torch
import yaml
from lightning import Trainer
from lightning.pytorch import Callback
from torch import nn

from benchmarks.checks.case import Case, Place, Row, SkippedCheck, WrongFigureError
from benchmarks.full_profiles import full_profiles, stand_in
from experiments.training import ImpastoCLI, main
from lightning_modules.generation import GenerativeModule

SMALL = {
    **{"size": 64, "resize": 64, "batch_size": 4, "artists_per_batch": 4, "scale": [1.0, 1.0]},
    **{"width": 8, "max_channels": 16, "discriminator_width": 8},
    **{"StylisticPrediction": {"content": "vgg", "style": "vgg"}},
    **{"network": "brushwork", "discriminator_scales": 2, "count": 2, "windows": 4, "each": 2},
}
"""Settings where everything is small."""
STEPS = 8
WARM_UP = 3


class Clock(Callback):
    """Notes how long a step takes: from the batch on the device to the optimisers' last step."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: list[float] = []
        self._start = 0.0

    def on_train_batch_start(self, *args: Any) -> None:  # noqa: ARG002
        """Start."""
        self._start = self._now()

    def on_train_batch_end(self, *args: Any) -> None:  # noqa: ARG002
        """Stop."""
        self.seconds.append(self._now() - self._start)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def cases(tiny: bool) -> list[Case]:  # noqa: ARG001
    """Return the checks of this file: plain steps of all, then compiled ones, which take longer to begin."""
    methods = [name for name, kind in full_profiles().items() if kind.trains and not issubclass(kind, GenerativeModule)]
    plain = [Case(f"training step of {name}", partial(steps, name), 75) for name in methods]
    return plain + [Case(f"training step of {name}, compiled", partial(compiled, name), 90) for name in methods]


def steps(method: str, place: Place) -> Iterator[Row]:
    """Measure float32 and bfloat16, one after the other on one module."""
    cli = built(method, place)
    for precision in ("32-true", "bf16-mixed"):
        yield from measured(cli, precision, place)


def compiled(method: str, place: Place) -> Iterator[Row]:
    """Measure bfloat16 with what the method compiles."""
    kind = full_profiles()[method]
    bases = [base for base in kind.__mro__ if "__init__" in vars(base)]
    if not any("compile" in inspect.signature(base).parameters for base in bases):
        raise SkippedCheck(f"{kind.__name__} has no argument compile")
    original = nn.Module.compile
    small = mock.patch.object(nn.Module, "compile", lambda *args: original(*args, backend="eager"))
    with small if place.tiny else mock.MagicMock():
        cli = built(method, place, "--model.compile", "true")
        yield from measured(cli, "bf16-mixed", place)


def built(method: str, place: Place, *options: str) -> ImpastoCLI:
    """Return the experiment and its data, as the command line builds them from the full profile."""
    profile = place.pictures / f"{method}.yaml"
    small = {"weights": "embedded", "settings": SMALL} if place.tiny else {}
    profile.write_text(yaml.safe_dump(stand_in(method, place.pictures, **small)))
    plain = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--wandb", "disabled"]
    return main(["fit", "--config", str(profile), *plain, *options], run=False)


def measured(cli: ImpastoCLI, precision: str, place: Place) -> Iterator[Row]:
    """Train for a few steps, and return their median and the memory that they took."""
    clock, count = Clock(place.device), (1, 1) if place.tiny else (WARM_UP, STEPS)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(
        accelerator=place.device.type,
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        max_steps=sum(count),
        limit_val_batches=0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        callbacks=[clock],
        **quiet,
    )
    if place.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place.device)
    trainer.fit(cli.model, datamodule=cli.datamodule)
    lost = [name for name, value in trainer.callback_metrics.items() if not bool(value.isfinite().all())]
    if lost:
        raise WrongFigureError(f"{', '.join(lost)} not finite in {precision}")
    batch = cli.datamodule.batch_size
    yield Row(precision, statistics.median(clock.seconds[count[0] :]), "s a step", f"data.batch_size {batch}")
    if place.device.type == "cuda":
        yield Row(f"{precision}, memory", torch.cuda.max_memory_allocated(place.device) / 2**30, "GiB")
