"""A fit that begins with the weights of a checkpoint, and with everything else anew."""

import pytest
import torch
from torch import nn

from experiments.cli import execute
from experiments.training import main
from lightning_modules.checkpoints import start_from
from lightning_modules.errors import ImpastoError


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def module(stub_yaml, *options):
    return main(["fit", "--config", str(stub_yaml), *options], run=False).model


def forged(trained, path, **changes):
    checkpoint = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    torch.save(checkpoint | changes, path)
    return path


def test_the_weights_are_the_checkpoints_and_the_count_is_new(stub_yaml, trained, capsys):
    source = trained / "checkpoints/last.ckpt"
    fit = ["fit", "--config", str(stub_yaml), "--start_from", str(source), "--run_name", "b"]
    options = ["--trainer.max_steps", "1", "--model.lr", "0"]
    assert execute([*fit, *options]) == 0
    assert f"start      {source}: " in capsys.readouterr().out
    begun = torch.load("runs/stub_method/b/checkpoints/last.ckpt", weights_only=True)
    assert begun["global_step"] == 1
    before = weights(source)
    assert begun["state_dict"].keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in begun["state_dict"].items())


def test_a_part_that_the_checkpoint_lacks_begins_anew_and_one_that_the_fit_lacks_is_left(stub_yaml, trained, tmp_path):
    model = module(stub_yaml)
    model.extra = nn.Linear(2, 2)
    fresh = model.extra.weight.clone()
    state = weights(trained / "checkpoints/last.ckpt")
    parts = sorted({name.partition(".")[0] for name in state})
    path = forged(trained, tmp_path / "more.ckpt", state_dict=state | {"judge.weight": torch.ones(3)})
    assert start_from(model, path) == (parts, ["extra"], ["judge"])
    assert torch.equal(model.extra.weight, fresh)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda state: {"state_dict": {"judge.weight": torch.ones(3)}}, "holds no part of this Stub"),
        (lambda state: {"impasto": {"method": "clast", "recipe": "a: b", "frozen": {}}}, "written by clast"),
        (lambda state: {"impasto": {"method": "stub_method", "recipe": None, "frozen": {}}}, "does not say how"),
        (lambda state: {"state_dict": dict(list(state.items())[1:])}, "1 tensors are missing"),
    ],
)
def test_what_cannot_be_started_from_is_one_sentence(stub_yaml, trained, tmp_path, make, words):
    path = forged(trained, tmp_path / "odd.ckpt", **make(weights(trained / "checkpoints/last.ckpt")))
    with pytest.raises(ImpastoError, match=words):
        start_from(module(stub_yaml), path)


def test_weights_of_another_width_leave_no_run(stub_yaml, trained, capsys):
    source = trained / "checkpoints/last.ckpt"
    assert execute(["fit", "--config", str(stub_yaml), "--model.width", "5", "--start_from", str(source)]) == 1
    assert "do not fit this Stub" in capsys.readouterr().err
    assert not list(stub_yaml.parent.glob("runs/stub_method/*"))


def test_a_run_that_goes_on_does_so_from_its_own_checkpoint(stub_yaml, trained, tmp_path):
    fit = ["fit", "--config", str(stub_yaml), "--run_name", "b"]
    assert execute([*fit, "--trainer.max_steps", "2"]) == 0
    own = weights("runs/stub_method/b/checkpoints/last.ckpt")
    far = forged(trained, tmp_path / "far.ckpt", state_dict={name: value + 100 for name, value in own.items()})
    assert execute([*fit, "--trainer.max_steps", "3", "--ckpt_path", "last", "--start_from", str(far)]) == 0
    after = weights("runs/stub_method/b/checkpoints/last.ckpt")
    assert all((value - own[name]).abs().max() < 1 for name, value in after.items())
