import pytest
import torch
import yaml

from experiments.demo.choices import Choice, Studio
from experiments.demo.work import Easel

SHARED = {"class_path": "stub_method.StubData"}


@pytest.fixture(scope="session")
def choices(tmp_path_factory, trained, dreamer):
    """One of each kind: trained, needing no training, drawing from words."""
    found = [Choice("stub", trained), Choice("dreamer", dreamer)]
    for name in ("Grey", "Stepper"):
        path = tmp_path_factory.mktemp("untrained") / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"model": {"class_path": f"stub_method.{name}"}, "data": SHARED}))
        found.append(Choice(name.lower(), None, path))
    return found


@pytest.fixture
def easel(choices, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Easel(Studio(choices, "cpu"), 64)


@pytest.fixture
def photograph():
    """200 of 255 everywhere, 20 rows of 30 pixels."""
    return torch.full((3, 20, 30), 200 / 255)
