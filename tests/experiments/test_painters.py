"""From a run to a painter that ships, and from its name to a picture: the commands, on the stub."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from experiments.cli import execute
from experiments.demo.choices import Studio, find_choices
from experiments.demo.work import Easel, Wish
from experiments.embedded import painters
from experiments.painting.inference import recipe_of
from lightning_modules import shipped
from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.errors import ImpastoError


@pytest.fixture
def shelf(trained, tmp_path, monkeypatch):
    """An empty folder to stand in, and a shelf on which the stub's painter lies."""
    folder = tmp_path / "shelf"
    monkeypatch.setattr(shipped, "EMBEDDED", folder)
    monkeypatch.setattr("lightning_modules.weights.EMBEDDED", folder)
    monkeypatch.chdir(tmp_path)
    painters.export(trained, folder, ["--config", str(trained.parents[2] / "tiny.yaml")])
    return folder


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(path)
    return path


def test_an_export_says_what_it_was_made_of_and_how_far_it_lies_away(shelf, trained):
    described = json.loads((shelf / "stub_method.json").read_text())
    assert described["recipe"]["class_path"] == "stub_method.Stub"
    assert described["measured"].keys() == {"half_mean", "half_largest", "steps", "seconds", "seed", "device", "commit"}
    assert described["measured"]["steps"] == 6
    assert 0 < described["measured"]["half_mean"] < 0.5 / 255
    whole = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    stored = load_file(shelf / "stub_method.safetensors")
    assert whole.keys() == stored.keys()
    assert all(torch.equal(value, whole[name].half()) for name, value in stored.items())
    assert [path.name for path in shelf.parent.iterdir()] == ["shelf"]  # no samples of its validation


def test_an_export_names_the_files_of_the_networks_that_it_was_measured_with(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("stub_method.Stub.frozen_sources", lambda _: {"lens": "embedded; file 1a"})
    painters.export(trained, tmp_path, ["--config", str(trained.parents[2] / "tiny.yaml")])
    assert json.loads((tmp_path / "stub_method.json").read_text())["frozen"] == {"lens": "embedded; file 1a"}


@pytest.mark.parametrize("bound", ["LARGEST", "MEAN"])
def test_pictures_that_half_precision_spoils_are_not_exported(trained, tmp_path, monkeypatch, bound):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(painters, bound, 1e-9)
    with pytest.raises(ImpastoError, match=r"Half precision moves the pictures by .* nothing was written"):
        painters.export(trained, tmp_path, ["--config", str(trained.parents[2] / "tiny.yaml")])
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_ships_is_not_exported_again(shelf):
    with pytest.raises(ImpastoError, match="ships already"):
        painters.export(shelf / "stub_method.safetensors", shelf)


def stylize(checkpoint, photograph, *more):
    words = ["--checkpoint", checkpoint, "--content", str(photograph), "--prompt", "a", "--out", "out.png"]
    return execute(["stylize", *words, "--device", "cpu", *more])


@pytest.mark.usefixtures("shelf")
def test_a_painter_is_named_on_the_command_line(photograph, trained, capsys):
    assert stylize("embedded:stub_method", photograph) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "out.png"
    painted = np.asarray(Image.open("out.png")).astype(int)
    assert stylize(str(trained), photograph) == 0
    assert np.abs(painted - np.asarray(Image.open("out.png"))).max() <= 1
    with pytest.raises(SystemExit):
        execute(["stylize", "--checkpoint", "embedded:stub_method", "--help"])
    assert "controls of Stub" in capsys.readouterr().out


@pytest.mark.usefixtures("shelf")
def test_a_painter_that_is_not_there_is_one_sentence(photograph, capsys):
    assert stylize("embedded:nonsense", photograph) == 1
    words = capsys.readouterr().err
    assert words == "impasto: No painter that ships is called 'nonsense'; there is embedded:stub_method.\n"


@pytest.mark.usefixtures("shelf")
def test_a_painter_that_ships_is_not_continued(stub_yaml, capsys):
    assert execute(["fit", "--config", str(stub_yaml), "--ckpt_path", "embedded:stub_method"]) == 1
    assert "embedded:stub_method paints and does not train" in capsys.readouterr().err


@pytest.mark.usefixtures("shelf")
def test_a_method_that_must_be_trained_may_ship(stub_yaml, photograph, capsys):
    words = ["--content", str(photograph), "--prompt", "a", "--out", "out.png"]
    assert execute(["stylize", "--config", str(stub_yaml), *words]) == 1
    assert "then give --checkpoint, or take --checkpoint embedded:stub_method." in capsys.readouterr().err


@pytest.mark.usefixtures("shelf")
def test_the_demo_offers_what_ships_after_trained_runs(trained):
    found = find_choices(trained.parents[1])
    assert [choice.label for choice in found[:2]] == ["stub_method/a, last", "embedded:stub_method"]
    easel, grey = Easel(Studio(found, "cpu"), 64), torch.full((3, 9, 12), 0.5)
    painted, shipped_one = (easel.paint(choice.label, Wish(grey, prompt="a")).after for choice in found[:2])
    assert (painted - shipped_one).abs().max() < 1 / 255


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.fixture
def profile(stub_yaml, monkeypatch):
    """The stub has a painter's profile."""
    monkeypatch.setattr(painters, "profile_of", lambda *_: stub_yaml)
    return stub_yaml


def test_an_interrupted_training_goes_on_and_a_finished_one_is_left_alone(profile, tmp_path, capsys):
    straight = painters.train("stub_method", tmp_path / "straight", seed=3)
    settings, plain = yaml.safe_load(profile.read_text()), profile.read_text()
    settings["trainer"]["callbacks+"] = [
        {"class_path": "callbacks.last_checkpoint.LastCheckpoint", "init_args": {"every_n_iterations": 2}},
        {"class_path": "stub_callbacks.Signal", "init_args": {"iteration": 5, "number": int(signal.SIGINT)}},
    ]
    profile.write_text(yaml.safe_dump(settings))
    with pytest.raises(KeyboardInterrupt):
        painters.train("stub_method", tmp_path / "runs", seed=3)
    profile.write_text(plain)
    last = tmp_path / "runs/stub_method/painter-seed3/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 4
    for _ in range(2):
        assert painters.train("stub_method", tmp_path / "runs", seed=3) == last.parents[1]
    assert "is finished; remove it" in capsys.readouterr().out
    assert json.loads((last.parents[1] / "summary.json").read_text())["seed"] == 3
    one, other = (load_checkpoint(folder / "checkpoints/last.ckpt") for folder in (straight, last.parents[1]))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_fewer_steps_shorten_the_schedule_along_and_are_a_run_of_their_own(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(painters, "main", asked.append)
    assert painters.train("contraast", tmp_path, seed=1, steps=40) == tmp_path / "contraast/painter-seed1-steps40"
    with pytest.raises(SystemExit):
        execute([*asked[0], "--print_config"])
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["trainer"]["max_steps"] == settings["model"]["init_args"]["scheduler"]["init_args"]["total"] == 40
    assert (settings["seed_everything"], settings["runs_dir"]) == (1, str(tmp_path))


def test_the_command_exports_runs_and_trains_nothing(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(painters, "profile_of", lambda *_: trained.parents[2] / "tiny.yaml")
    monkeypatch.setattr(painters, "train", None)
    out = tmp_path / "out"
    assert execute(["embedded-weights", "painters", "--from", str(trained), "--out", str(out)]) == 0
    written = capsys.readouterr().out.splitlines()
    assert written[-1] == str(out)
    assert "half_mean" in written[-2]
    assert sorted(path.name for path in out.iterdir()) == ["stub_method.json", "stub_method.safetensors"]
    assert execute(["embedded-weights", "clip", "--from", str(trained), "--out", str(out)]) == 1
    assert "impasto embedded-weights painters --from" in capsys.readouterr().err


def test_the_command_trains_every_painter_and_exports_one_after_the_other(trained, tmp_path, monkeypatch, capsys):
    done = []

    def train(name, runs, **how):
        done.append((name, how))
        return shutil.copytree(trained, runs / name)

    def export(source, folder):
        done.append((source.name, folder))
        return {"half_mean": 0.0}

    monkeypatch.setattr(painters, "train", train)
    monkeypatch.setattr(painters, "export", export)
    words = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path), "--steps", "7", "--seed", "2"]
    assert execute(["embedded-weights", "painters", *words]) == 0
    how = {"seed": 2, "steps": 7}
    assert done == [("clast", how), ("clast", tmp_path), ("contraast", how), ("contraast", tmp_path)]
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path)


# ---- profiles that are differences -----------------------------------------------------------------------------------


def printed(capsys, *files):
    words = [word for file in files for word in ("--config", f"experiments/{file}.yaml")]
    with pytest.raises(SystemExit) as stop:
        execute(["fit", *words, "--print_config"])
    assert not stop.value.code
    return capsys.readouterr().out


def test_a_profile_of_differences_alone_is_laid_on_the_tiny_one(capsys, monkeypatch):
    monkeypatch.chdir(shipped.EMBEDDED.parents[1])
    alone = printed(capsys, "clast/painter")
    assert alone == printed(capsys, "clast/tiny", "clast/painter")
    settings = yaml.safe_load(alone)
    assert settings["model"]["class_path"] == "lightning_modules.clast.CLAST"
    kinds = [callback["class_path"].rpartition(".")[2] for callback in settings["trainer"]["callbacks"]]
    assert {"StyleMetrics", "BestCheckpoint", "WeightAverage"} <= set(kinds)


def test_a_profile_of_differences_alone_is_a_whole_recipe():
    folder = shipped.EMBEDDED.parents[1] / "experiments/least"
    recipe = recipe_of(None, [folder / "from_photograph.yaml"])
    assert recipe == recipe_of(None, [folder / "tiny.yaml", folder / "from_photograph.yaml"])
    assert recipe["class_path"] == "lightning_modules.least.LEAST"
    assert recipe["init_args"]["begin"] == "content"


def test_the_embedded_networks_go_under_any_profile_of_least(capsys, monkeypatch):
    monkeypatch.chdir(shipped.EMBEDDED.parents[1])
    names = [("least/fast",), ("least/fast", "least/embedded"), ("least/tiny",)]
    alone, below, tiny = (yaml.safe_load(printed(capsys, *each))["model"]["init_args"] for each in names)
    changed = {"weights", "templates", "source"}
    assert {name: below[name] for name in changed} == {name: tiny[name] for name in changed}
    assert below["structure"] == alone["structure"] | {"layers": tiny["structure"]["layers"]}
    rest = below.keys() - changed - {"structure"}
    assert {name: below[name] for name in rest} == {name: alone[name] for name in rest}
