"""Seconds and memory of painting, full-size networks with random weights: 512 x 512 pixels, and eight megapixels."""

import argparse
import statistics
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.checks.case import Case, Place, Row
from benchmarks.inference import PAPER, one, paint, pictures, recipes, tiling
from benchmarks.meter import Meter
from lightning_modules.checkpoints import build

STATED = {"clast": 0.03} | {name: seconds[1] for name, seconds in PAPER.items()}
"""Seconds of one picture of 512 x 512 pixels: CLAST, main results; NeAT, table 2."""
ROUNDS = 10
LARGE = (3840, 2160)


def cases(tiny: bool) -> list[Case]:  # noqa: ARG001
    """Return the checks of this file."""
    found = [Case(f"painting by {name}", partial(medium, name), 45) for name in sorted(recipes())]
    return found + [Case(f"large picture by {name}", partial(large, name), 60) for name in sorted(tiling())]


def medium(method: str, place: Place) -> Iterator[Row]:
    """Measure pictures of 512 x 512, each with a style that the method has not met."""
    side, rounds = (32, 1) if place.tiny else (512, ROUNDS)
    model, meter = (
        build(recipes("embedded" if place.tiny else "random")[method]).to(place.device).eval(),
        Meter(place.device, 0),
    )
    seconds, mib = [], 0.0
    for number in range(rounds + 2):
        content, style = pictures((side, side), side, number, place.device)
        if not number:
            _, mib = meter.first(lambda c=content, s=style: paint(model, c, s))  # type: ignore[misc]
        else:
            seconds.append(meter.seconds(lambda c=content, s=style: paint(model, c, s)))  # type: ignore[misc]
    stated = f"paper: {STATED[method]:.3f} s on a GPU that it does not name" if method in STATED else ""
    yield Row(f"{side}x{side}", statistics.median(seconds[1:] or seconds), "s", "" if place.tiny else stated)
    yield Row(f"{side}x{side}, memory", mib, "MiB")


def large(method: str, place: Place) -> Iterator[Row]:
    """Measure one picture of eight megapixels, in tiles."""
    size = (96, 64) if place.tiny else LARGE
    weights = "embedded" if place.tiny else "random"
    options = argparse.Namespace(tile=None, style_side=32 if place.tiny else 1024, weights=weights)
    found = one(method, size, options, torch.device(place.device))
    label = f"{size[0]}x{size[1]}"
    yield Row(label, found["seconds"], "s", "the first call")
    yield Row(f"{label}, memory", found["gib"], "GiB", "the whole process" if place.device.type == "cpu" else "")
