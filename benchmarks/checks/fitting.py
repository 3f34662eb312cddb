"""What LEAST takes for a region, and NSYNC for a step, full-size networks with random weights."""

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import yaml

from benchmarks import least, nsync_step
from benchmarks.checks.case import Case, Place, Row, WrongFigureError
from benchmarks.full_profiles import EXPERIMENTS, full_profiles
from benchmarks.inference import pictures
from benchmarks.meter import Meter
from lightning_modules.checkpoints import build

ITERATIONS = 200
"""Of one region: LEAST, section 4."""
ROUNDS = 5
TOLERANCE = 1e-3
"""Largest difference between gradients of one pass and of three, relative to the largest entry."""


def cases(tiny: bool) -> list[Case]:  # noqa: ARG001
    """Return the checks of this file."""
    found = [Case("LEAST, one region", region, 75)]
    found += [Case(f"fit of {name}, one picture", partial(picture, name), 60) for name in _fitting_to_pictures()]
    return found + [Case(f"NSYNC step, {name}", partial(step, name), 75) for name in ("float32", "bfloat16")]


def region(place: Place) -> Iterator[Row]:
    """Measure iterations of the notebook's plan and of the fast preset, that also with its networks in bfloat16."""
    size, patches = (32, 2) if place.tiny else (512, 64)
    exact = least.full_size(size, patches, "ViT-B-32", place.device, "embedded" if place.tiny else "random")
    asked = least.order(size, place.device)
    jobs, meter = exact.prepare(asked), Meter(place.device, 0)
    runs = least.ours(exact, jobs, asked)
    for name in ("exact", "fast", "half"):
        seconds, mib = _measured(lambda run=runs[name]: run(0), meter, place)  # type: ignore[misc]
        yield Row(f"{name}, {ITERATIONS} iterations", ITERATIONS * seconds, "s a region")
        yield Row(f"{name}, memory", mib, "MiB")


def picture(method: str, place: Place) -> Iterator[Row]:
    """Measure a few iterations of a method that optimises for every picture, by the look of another."""
    recipe = yaml.safe_load((EXPERIMENTS / method / "full.yaml").read_text(encoding="utf-8"))["model"]
    weights = "embedded" if place.tiny else "random"
    model = build({**recipe, "init_args": {**recipe["init_args"], "weights": weights}}).to(place.device).eval()
    side, few = (32, 1) if place.tiny else (512, 20)
    content, style = pictures((side, side), side, 0, place.device)

    def run() -> None:
        model.stylize(content, style=style, controls={"iterations": few})

    seconds, mib = _measured(run, Meter(place.device, 0), place)
    whole = next(control.default for control in model.offered if control.name == "iterations")
    yield Row(f"{side}x{side}, {whole} iterations", float(whole) / few * seconds, "s a picture", f"of {few} measured")
    yield Row("memory", mib, "MiB")


def _fitting_to_pictures() -> list[str]:
    kinds = full_profiles().items()
    return [name for name, kind in kinds if getattr(kind, "optimises", False) and "image" in kind.conditions]  # type: ignore[attr-defined]


def step(precision: str, place: Place) -> Iterator[Row]:
    """Measure the step of training and, once, that one pass gives the gradients of three."""
    torch.manual_seed(0)
    options = argparse.Namespace(
        tiny=place.tiny,
        size=64 if place.tiny else 512,
        batch=1 if place.tiny else 2,
        adapter="textual_inversion",
        checkpointing=True,
        device=str(place.device),
    )
    runs, meter = nsync_step.contenders(options), Meter(place.device, 0)
    with torch.autocast(place.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        if precision == "float32":
            apart = nsync_step.difference(runs["batched"](), runs["three"]())
            if not apart <= TOLERANCE:
                raise WrongFigureError(f"gradients of one pass and of three are {apart:.2g} of the largest entry apart")
            yield Row("one pass against three", apart, "of the largest entry")
        seconds, mib = _measured(runs["whole"], meter, place)
    yield Row(
        f"{options.size} px, {options.batch} triplets", seconds, "s a step", "Stable Diffusion 1.5" * (not place.tiny)
    )
    yield Row("memory", mib, "MiB", "on top of the weights")


def _measured(run: Callable[[], Any], meter: Meter, place: Place) -> tuple[float, float]:
    """Return the median seconds of a call, after one whose memory counts and one that warms up."""
    _, mib = meter.first(run)
    if place.tiny:
        return meter.seconds(run), mib
    meter.seconds(run)
    return statistics.median(meter.seconds(run) for _ in range(ROUNDS)), mib
