import os
from pathlib import Path

import pytest
import yaml

from experiments.cli import execute

STUBS = Path(__file__).parent / "stubs"


@pytest.fixture(scope="session", autouse=True)
def stub_path():
    """Make `stub_method.Stub` a class path that YAML can name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STUBS))
        yield STUBS


@pytest.fixture
def stub_yaml(tmp_path, monkeypatch):
    """Stand in an empty folder that holds only the stub's YAML."""
    monkeypatch.chdir(tmp_path)
    return write_yaml(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """One finished run of the stub: its folder."""
    root = tmp_path_factory.mktemp("trained")
    config = write_yaml(root)
    here = Path.cwd()
    os.chdir(root)
    try:
        assert execute(["fit", "--config", str(config), "--run_name", "a"]) == 0
    finally:
        os.chdir(here)
    return root / "runs/stub_method/a"


@pytest.fixture(scope="session")
def dreamer(tmp_path_factory, stub_path):
    """One finished run of the stub that draws: its folder."""
    root = tmp_path_factory.mktemp("dreamer")
    settings = {
        "model": {"class_path": "stub_generator.Dreamer", "init_args": {"controls": {"gain": 0.9}}},
        "data": {"class_path": "stub_generator.PromptData"},
        "trainer": {
            "max_steps": 6, "accelerator": "cpu", "log_every_n_steps": 1, "num_sanity_val_steps": 0,
            "callbacks+": [{"class_path": "callbacks.adapter_files.AdapterFiles"}],
        },
        "wandb": "disabled",
    }  # fmt: skip
    config = root / "tiny.yaml"
    config.write_text(yaml.safe_dump(settings))
    here = Path.cwd()
    os.chdir(root)
    try:
        assert execute(["fit", "--config", str(config), "--run_name", "a"]) == 0
    finally:
        os.chdir(here)
    return root / "runs/stub_generator/a"


def write_yaml(folder):
    settings = {
        "model": {"class_path": "stub_method.Stub", "init_args": {"width": 4}},
        "data": {"class_path": "stub_method.StubData"},
        "trainer": {"max_steps": 6, "accelerator": "cpu", "log_every_n_steps": 1, "num_sanity_val_steps": 0},
        "wandb": "disabled",
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path
