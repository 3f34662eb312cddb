"""Mamba's scan on the device: mamba-ssm's kernel against ours, and ours against the CPU."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.checks.case import Case, Place, Row, SkippedCheck, WrongFigureError, worst
from benchmarks.checks.equality import exact
from benchmarks.meter import Meter
from benchmarks.selective_scan import make_inputs
from lightning_modules.networks.selective_scan import Backend, find_kernel, selective_scan

TOLERANCE = 2e-3
"""Largest difference, relative to the largest entry, of outputs and gradients in float32."""


def cases(tiny: bool) -> list[Case]:  # noqa: ARG001
    """Return the checks of this file."""
    return [Case("scan, mamba-ssm's kernel against ours", kernel), Case("scan, device against CPU", ours)]


def kernel(place: Place) -> Iterator[Row]:
    """Compare values, gradients and time of the two scans of CLAST's mamba1 mixer."""
    if place.device.type != "cuda":
        raise SkippedCheck("mamba-ssm's kernel runs on CUDA only")
    if find_kernel(place.device) is None:
        raise SkippedCheck("mamba-ssm is not installed, or does not work here: pip install 'impasto[mamba]'")
    yield worst(_compared(place, "kernel", "tree", place.device))
    for backend in ("kernel", "tree"):
        yield Row(f"forward and backward, {backend}", 1000 * _seconds(place, backend), "ms")


def ours(place: Place) -> Iterator[Row]:
    """Compare the device's own scan with the CPU's."""
    yield worst(_compared(place, "tree", "slab", torch.device("cpu")))
    yield Row("forward and backward, tree", 1000 * _seconds(place, "tree"), "ms")


def _compared(place: Place, backend: Backend, other: Backend, device: torch.device) -> Iterator[Row]:
    exact()
    found = _results(_inputs(place), backend)
    expected = _results(_inputs(place, device), other)
    names = ("outputs", *(f"gradient of {name}" for name in ("u", "delta", "A", "B", "C")))
    for name, one, two in zip(names, found, expected, strict=True):
        apart = float((one.cpu() - two.cpu()).abs().max() / two.abs().max().cpu())
        if not apart <= TOLERANCE:
            raise WrongFigureError(f"{name} of {backend} and {other} are {apart:.2g} of the largest entry apart")
        yield Row(f"{name}, {backend} and {other}", apart, "of the largest entry")


def _inputs(place: Place, device: torch.device | None = None) -> list[Tensor]:
    torch.manual_seed(0)
    length, dim = (64, 32) if place.tiny else (4096, 640)
    inputs, _ = make_inputs(1, length, dim, 16)
    return [tensor.detach().to(device or place.device).requires_grad_() for tensor in inputs]


def _results(inputs: list[Tensor], backend: Backend) -> list[Tensor]:
    output = selective_scan(*inputs, backend=backend)
    weight = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    return [output.detach(), *torch.autograd.grad(output, inputs, weight)]


def _seconds(place: Place, backend: Backend) -> float:
    inputs, meter = _inputs(place), Meter(place.device, 5)
    return meter.best(lambda: _results(inputs, backend), meter.seconds(lambda: _results(inputs, backend)))
