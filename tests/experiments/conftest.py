import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

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
    return finished(write_yaml(root)) / "stub_method/a"


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
    return finished(config) / "stub_generator/a"


def finished(config):
    """Train what a file says, beside it; return the folder of its runs."""
    with contextlib.chdir(config.parent):
        assert execute(["fit", "--config", str(config), "--run_name", "a"]) == 0
    return config.parent / "runs"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Two contents, and a style by each of three artists."""
    root = tmp_path_factory.mktemp("gallery")
    noise = np.random.default_rng(0)
    for name in ("content/boat", "content/cat", "style/ada/dots", "style/bo/lines", "style/cy/spots"):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="session")
def browser():
    """The path of a Chromium."""
    names = ("chromium", "google-chrome", "chromium-browser")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip("there is no Chromium")


@pytest.fixture(scope="module")
def chromium(browser):
    """A Chromium that tests drive as a person would; no longer than their file, for it has an event loop running."""
    playwright = pytest.importorskip("playwright.sync_api", reason="`pip install playwright` drives a browser")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield opened
        opened.close()


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
