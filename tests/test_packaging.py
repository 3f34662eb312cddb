"""Five plain top-level names are a risk: these tests say that they are ours, and that nothing else is."""

import importlib
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
PACKAGES = ("callbacks", "datamodules", "experiments", "lightning_modules", "metrics")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_our_names(package):
    owners = set(metadata.packages_distributions().get(package, []))
    assert owners <= {"impasto"}, f"uninstall {sorted(owners - {'impasto'})}"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_lies_in_this_repo(package):
    origin = importlib.import_module(package).__file__
    assert origin is not None
    assert Path(origin).resolve().parent == ROOT / package


def test_a_wheel_holds_the_five_packages_and_no_tests():
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    found = find_packages(str(ROOT), include=include)
    assert {name.split(".")[0] for name in found} == set(PACKAGES)


def test_every_folder_with_code_is_a_package_that_a_wheel_holds():
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    found = set(find_packages(str(ROOT), include=include))
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()


def test_the_malicious_uploads_of_lightning_stay_out():
    requirement = next(line for line in PROJECT["project"]["dependencies"] if line.startswith("lightning"))
    assert requirement == "lightning>=2.6.4,<2.7"


def test_constraints_pin_every_requirement_but_those_that_need_cuda():
    pins = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    }
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = PROJECT["project"]["dependencies"] + [line for name in extras if name != "mamba" for line in extras[name]]
    names = {line.split("[")[0].split(">")[0].split("=")[0].strip().lower().replace("_", "-") for line in wanted}
    assert names <= pins
    assert not [pin for pin in pins if pin.startswith(("nvidia", "cuda", "triton"))]


def test_private_to_this_repo():
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]
