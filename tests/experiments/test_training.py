import csv
import json

import pytest
import torch
import yaml

from experiments.cli import execute
from experiments.training import main
from lightning_modules.checkpoints import load_checkpoint


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trainer.max_stepz", "3"], ["trainer.max_stepz", "did you mean 'trainer.max_steps'?"]),
        (["--model.widht", "3"], ["'widht' is not accepted", "did you mean 'width'?"]),
        (["--model.width", "wide"], ["Expected a int", "wide", "model"]),
        (["--model", "stub_method.Studd"], ["no attribute 'Studd'"]),
        (["--model", "stub_method.StubData"], ["subclass of Experiment", "stub_method.StubData"]),
        (["--config", "missing.yaml"], ["missing.yaml"]),
        (["--config", "broken.yaml"], ["YAML", "line "]),
    ],
)
def test_a_wrong_command_line_is_one_sentence(stub_yaml, capsys, arguments, words):
    (stub_yaml.parent / "broken.yaml").write_text("trainer: [1\n")
    assert execute(["fit", "--config", str(stub_yaml), *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("impasto: ")
    assert not any("usage" in line for line in lines)
    for word in words:
        assert word in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ckpt_path", "nowhere.ckpt"], "There is no checkpoint at nowhere.ckpt"),
        (["--ckpt_path", "last"], "There is no run to continue"),
        (["--ckpt_path", "last", "--run_name", "b"], "There is no runs/stub_method/b/checkpoints/last.ckpt"),
    ],
)
def test_a_missing_checkpoint_is_one_sentence(stub_yaml, capsys, arguments, words):
    assert execute(["fit", "--config", str(stub_yaml), *arguments]) == 1
    assert words in capsys.readouterr().err
    assert not (stub_yaml.parent / "runs").exists()


def test_a_run_leaves_its_records(trained):
    present = {path.name for path in trained.iterdir()}
    assert {"config.yaml", "metrics.csv", "summary.json", "samples", "checkpoints", "report"} <= present
    assert [path.name for path in (trained / "checkpoints").iterdir()] == ["last.ckpt"]
    assert (trained.parent / "latest").resolve() == trained.resolve()
    summary = json.loads((trained / "summary.json").read_text())
    assert (summary["method"], summary["profile"], summary["seed"], summary["iterations"]) == (
        "stub_method",
        "tiny",
        0,
        6,
    )
    assert {row["step"] for row in rows(trained)} == {str(step) for step in range(6)}
    assert not list(trained.rglob("*.part"))


def test_the_checkpoint_knows_its_recipe(trained):
    model = load_checkpoint(trained / "checkpoints/last.ckpt")
    assert model.net[0].out_channels == 4
    assert yaml.safe_load(model.recipe)["class_path"] == "stub_method.Stub"
    assert model.stylize(torch.rand(1, 3, 5, 7), prompt="a").shape == (1, 3, 5, 7)


def test_the_saved_configuration_is_a_configuration(trained):
    cli = main(["fit", "--config", str(trained / "config.yaml"), "--model.lr", "0.5"], run=False)
    assert cli.model.lr == 0.5
    assert cli.trainer.max_steps == 6


def test_print_config_round_trip(stub_yaml, capsys):
    def printed(path):
        with pytest.raises(SystemExit) as stop:
            execute(["fit", "--config", str(path), "--print_config"])
        assert not stop.value.code
        return capsys.readouterr().out

    first = printed(stub_yaml)
    stub_yaml.write_text(first)
    assert printed(stub_yaml) == first
    assert yaml.safe_load(first)["trainer"]["use_distributed_sampler"] is False  # from defaults.yaml


def test_a_resumed_run_keeps_its_rows_and_a_second_run_its_own_folder(stub_yaml):
    fit = ["fit", "--config", str(stub_yaml), "--run_name", "a"]
    assert execute([*fit, "--trainer.max_steps", "3"]) == 0
    folder = stub_yaml.parent / "runs/stub_method/a"
    before = rows(folder)
    with (folder / "metrics.csv").open("a") as file:
        file.write("2,0.1")  # what a kill in the middle of a line leaves
    assert execute(["fit", "--config", str(stub_yaml), "--ckpt_path", "last"]) == 0
    after = rows(folder)
    assert after[: len(before)] == before
    assert {row["step"] for row in after} == {str(step) for step in range(6)}
    assert execute([*fit, "--trainer.max_steps", "1"]) == 0
    assert rows(folder) == after
    assert (folder.parent / "latest").resolve().name == "a-2"


def test_later_files_append_callbacks(stub_yaml):
    overlay = stub_yaml.parent / "overlay.yaml"
    overlay.write_text("trainer:\n  callbacks+:\n  - class_path: callbacks.last_checkpoint.LastCheckpoint\n")
    cli = main(["fit", "--config", str(stub_yaml), "--config", str(overlay), "--seed", "7"], run=False)
    names = [type(callback).__name__ for callback in cli.trainer.callbacks]
    assert names.count("LastCheckpoint") == 2
    assert names.count("RunSummary") == 1
    assert cli.config["fit"]["seed_everything"] == 7


def test_test_of_the_last_checkpoint_writes_beside_the_run(stub_yaml):
    assert execute(["fit", "--config", str(stub_yaml), "--run_name", "a", "--trainer.max_steps", "1"]) == 0
    assert execute(["test", "--config", str(stub_yaml), "--ckpt_path", "last"]) == 0
    runs = stub_yaml.parent / "runs/stub_method"
    assert (runs / "a-test").is_dir()
    assert (runs / "latest").resolve().name == "a"


def test_wandb_gets_the_configuration_offline(stub_yaml, monkeypatch):
    import wandb

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    seen = {}
    init = wandb.init

    def spy(**settings):
        seen["settings"] = settings
        seen["run"] = init(**settings)
        return seen["run"]

    monkeypatch.setattr(wandb, "init", spy)
    fit = ["fit", "--config", str(stub_yaml), "--run_name", "w", "--wandb", "auto", "--trainer.max_steps", "2"]
    try:
        assert execute(fit) == 0
        config = dict(seen["run"].config)
    finally:
        wandb.finish()
    settings = seen["settings"]
    assert (settings["mode"], settings["group"], settings["tags"]) == ("offline", "stub_method", ["tiny"])
    assert config["model"]["init_args"]["width"] == 4
    assert config["trainer"]["max_steps"] == 2
    assert config["command"]
    folder = stub_yaml.parent / "runs/stub_method/w"
    assert list(folder.glob("wandb/offline-run-*"))
    assert (folder / "wandb/id").read_text() == settings["id"]
