"""No training step of a method waits for the accelerator: up to the optimiser's step no value of a tensor is read.

The device is PyTorch's `meta`, which holds shapes and no values: whatever would have to come back from an accelerator
leaves it, and is noted.
"""

import contextlib
import dataclasses
import importlib
import inspect
import traceback
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks import without_values
from benchmarks.without_values import Ones, is_meta, train
from experiments.cli import FOLDER
from experiments.training import main

STEPS = 2


class Reads(Ones):
    """Notes every operation that brings something from the device to the host, and the line that asked for it."""

    def __init__(self):
        super().__init__()
        self.places, self.counting = [], False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        try:
            return super().__torch_dispatch__(operation, types, args, kwargs)
        except (NotImplementedError, RuntimeError):  # the shape of the result would depend on values
            self.read(operation)
            raise

    def read(self, operation):
        if self.counting:
            ours = [frame for frame in traceback.extract_stack() if is_ours(Path(frame.filename))]
            own = {__file__, without_values.__file__}
            frame = next((frame for frame in reversed(ours) if frame.filename not in own), ours[-1])
            self.places.append(f"{operation} at {Path(frame.filename).name}:{frame.lineno}")


def is_ours(path):
    return path.is_relative_to(FOLDER.parent) and "site-packages" not in path.parts


@pytest.fixture
def reads_of(monkeypatch):
    """Return a function that trains for a few steps and returns where values were read in them."""

    def call(module, data):
        return reads_in_training(module, data, monkeypatch)

    return call


def reads_in_training(module, data, monkeypatch):
    step, reads = module.training_step, Reads()

    def training_step(batch, batch_idx):
        assert all(is_meta(part.device) for part in batch if isinstance(part, torch.Tensor))
        reads.counting = True
        step(batch, batch_idx)
        reads.counting = False

    monkeypatch.setattr(module, "training_step", training_step)
    train(module, data, reads, STEPS)
    assert module.trainer.global_step == STEPS
    return reads.places


@pytest.fixture
def build(tiny, tmp_path):
    """Return a function that builds a method, with every term of its loss, and its data."""

    def call(name, *options):
        overlay = tmp_path / "every_term.yaml"
        overlay.write_text(yaml.safe_dump({"model": {"init_args": every_term(name)}}))
        return main(["fit", *tiny(name, overlay), "--trainer.logger=false", *options], run=False)

    return call


def every_term(name):
    model = yaml.safe_load((FOLDER / name / "tiny.yaml").read_text())["model"]
    package, _, kind = model["class_path"].rpartition(".")
    bases = getattr(importlib.import_module(package), kind).__mro__  # the argument may be that of a shared base
    losses = [inspect.signature(base.__init__).parameters.get("loss") for base in bases]
    loss = next((parameter for parameter in losses if parameter is not None), None)
    return {"loss": {field.name: 1.0 for field in dataclasses.fields(loss.default)}} if loss else {}


def test_no_value_is_read_between_the_batch_and_the_step(build, stylist, reads_of):
    # Of stylists only: the artist classifier compresses pictures to JPEG in its step, on the host.
    cli = build(stylist)
    if not cli.model.trains:
        pytest.skip(f"{stylist} learns nothing")
    assert reads_of(cli.model, cli.datamodule) == []


def test_mixtures_and_prototypes_read_nothing_either(build, reads_of):
    cli = build("clast", "--model.mixture_fraction=0.5", "--model.prototype_shrinkage=20")
    assert reads_of(cli.model, cli.datamodule) == []


@pytest.mark.parametrize("read", [float, bool, torch.Tensor.tolist, torch.Tensor.cpu, torch.nonzero])
def test_every_kind_of_read_is_noticed(read):
    value = torch.ones(1, device="meta")
    with Reads() as reads:
        reads.counting = True
        with contextlib.suppress(NotImplementedError, RuntimeError):
            read(value)
        value + 1  # is none
    assert len(reads.places) == 1
    assert f"at {Path(__file__).name}" in reads.places[0]
