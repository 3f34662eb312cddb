"""Every YAML of every experiment: it parses, it builds, and what it prints is itself again."""

import dataclasses
import importlib
import inspect
from pathlib import Path

import pytest
import yaml

from experiments.cli import execute
from experiments.training import main

ROOT = Path(__file__).parents[1] / "experiments"
# A folder of YAML has a package of the same name, at any depth; other folders hold launch files and the like.
METHODS = sorted(path.parent.name for path in (ROOT.parent / "lightning_modules").glob("**/module.py"))
# What lies beside the configurations and is none: figures of the papers, and searches over a configuration's values.
OTHERS = {"published.yaml", "sweep.yaml"}
FILES = [path for method in METHODS for path in sorted((ROOT / method).glob("**/*.yaml"))]
CONFIGS = [path for path in FILES if path.name not in OTHERS]
SWEEPS = [path for path in FILES if path.name == "sweep.yaml"]
OVERLAYS = sorted((ROOT / "overlays").glob("*.yaml"))
# Big networks come from the network's caches; a test has neither.
WITHOUT_DOWNLOADS = ["--model.weights", "random"]


def name(path):
    return str(path.relative_to(ROOT).with_suffix(""))


def model_class(folder):
    """Return the class that a folder's tiny profile names."""
    package, _, kind = yaml.safe_load((ROOT / folder / "tiny.yaml").read_text())["model"]["class_path"].rpartition(".")
    return getattr(importlib.import_module(package), kind)


def configured(path):
    """Return the options that complete a file which holds differences to another profile only."""
    settings = yaml.safe_load(path.read_text())
    base = (
        []
        if "class_path" in settings.get("model", {})
        else ["--config", str(path.parents[len(path.relative_to(ROOT).parts) - 2] / "tiny.yaml")]
    )
    return ["fit", *base, "--config", str(path)]


def found(settings, key):
    """Return what a dotted flag has set, `init_args` left out as on a command line."""
    for part in key.split("."):
        settings = settings.get("init_args", settings) if part not in settings else settings
        settings = settings[part]
    return settings


@pytest.mark.parametrize("folder", METHODS)
def test_every_experiment_has_a_tiny_and_a_full_profile(folder):
    assert {"tiny.yaml", "full.yaml"} <= {path.name for path in (ROOT / folder).glob("*.yaml")}


@pytest.mark.parametrize("folder", METHODS)
def test_defaults_that_all_instances_share_are_frozen(folder):
    kind = model_class(folder)
    for owner in kind.__mro__[:-1]:
        if not owner.__module__.startswith("lightning_modules.") or "__init__" not in vars(owner):
            continue
        for parameter in inspect.signature(owner.__init__).parameters.values():
            if dataclasses.is_dataclass(parameter.default):
                frozen = parameter.default.__dataclass_params__.frozen
                assert frozen, f"{owner.__name__}({parameter.name}=) is one object for all: make it a frozen dataclass"


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_print_config_round_trip(path, tmp_path, capsys):
    def printed(arguments):
        with pytest.raises(SystemExit) as stop:
            execute([*arguments, "--print_config"])
        assert not stop.value.code
        return capsys.readouterr().out

    first = printed(configured(path))
    again = tmp_path / "printed.yaml"
    again.write_text(first)
    assert printed(["fit", "--config", str(again)]) == first


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_it_builds(path):
    cpu = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.strategy", "auto"]
    plain = ["--trainer.precision", "32-true", "--trainer.num_nodes", "1"]
    cli = main([*configured(path), *WITHOUT_DOWNLOADS, *cpu, *plain], run=False)
    assert cli.model.method == path.relative_to(ROOT).parts[0]
    assert cli.trainer.max_steps > 0


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_a_sweep_gives_flags_that_a_fit_takes(path, capsys):
    sweep = yaml.safe_load(path.read_text())
    assert {"project", "method", "metric", "parameters", "command"} <= sweep.keys()
    assert sweep["command"][:4] == ["${env}", "python", "-m", "experiments"]
    assert sweep["command"][-1] == "${args}"
    profile = sweep["command"][sweep["command"].index("--config") + 1]
    values = {key: parameter["values"][-1] for key, parameter in sweep["parameters"].items()}
    flags = [f"--{key}={value}" for key, value in values.items()]  # as W&B spells ${args}
    with pytest.raises(SystemExit) as stop:
        execute(["fit", "--config", str(ROOT.parent / profile), *flags, "--print_config"])
    assert not stop.value.code
    settings = yaml.safe_load(capsys.readouterr().out)
    for key, value in values.items():
        if key != "config":
            assert found(settings, key) == value


@pytest.mark.parametrize("path", OVERLAYS, ids=name)
def test_an_overlay_changes_only_what_it_names(path, capsys):
    def printed(*arguments):
        with pytest.raises(SystemExit):
            execute(["fit", "--config", str(ROOT / METHODS[0] / "tiny.yaml"), *arguments, "--print_config"])
        return yaml.safe_load(capsys.readouterr().out)

    plain, laid = printed(), printed("--config", str(path))
    overlay = yaml.safe_load(path.read_text())
    for section, values in overlay.items():
        if isinstance(values, dict):
            assert {key: laid[section][key] for key in values} == values
        else:
            assert laid[section] == values
    assert laid["model"] == plain["model"]
    assert laid["trainer"]["callbacks"] == plain["trainer"]["callbacks"]
