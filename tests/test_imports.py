"""The house's walls: which package may import which, read from the syntax trees of the whole repo."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("experiments", "lightning_modules", "datamodules", "callbacks", "metrics")
LEAVES = tuple(f"lightning_modules.{name}" for name in ("types", "errors", "files", "paths", "prompts"))
NETWORKS = ("lightning_modules.networks", "lightning_modules.weights")
TOOLBOX = (
    *LEAVES,
    *NETWORKS,
    "lightning_modules.conditions",
    "lightning_modules.grounding",
    "lightning_modules.losses",
    "lightning_modules.optim",
    "lightning_modules.torchvision_shim",
)
METHODS = tuple(sorted(path.parent.name for path in ROOT.glob("lightning_modules/*/module.py")))
# What each package may import of ours, besides itself; callbacks need the base class as a type.
ALLOWED = {
    "experiments": PACKAGES,
    "callbacks": ("metrics", *NETWORKS, *LEAVES, "lightning_modules.base", "datamodules.images"),
    "metrics": (*NETWORKS, *LEAVES),
    "datamodules": LEAVES,
    "lightning_modules": (),
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path, source=None):
    """Return the dotted name of everything that a file imports, at any depth."""
    source = path.read_text(encoding="utf-8") if source is None else source
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{origin}.{alias.name}" for alias in node.names]
    return names


def within(name, prefixes):
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def is_toolbox(path):
    return within(module_name(path), ("metrics", *TOOLBOX))


def test_relative_and_nested_imports_are_read():
    source = "import a.b\nfrom ..types import X\nfrom . import vgg\ndef f():\n    from c import d\n"
    names = imported_names(ROOT / "lightning_modules" / "networks" / "example.py", source)
    assert names == ["a.b", "lightning_modules.types.X", "lightning_modules.networks.vgg", "c.d"]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == package
        for name in imported_names(path)
        # The bare `import lightning_modules` installs the torchvision shim.
        if within(name, PACKAGES) and name != "lightning_modules" and not within(name, (package, *ALLOWED[package]))
    ]
    assert not wrong


def test_a_method_never_imports_another_method():
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in SOURCES
        for name in imported_names(path)
        for method in METHODS
        if within(module_name(path), ["lightning_modules"])
        and within(name, [f"lightning_modules.{method}"])
        and not within(module_name(path), [f"lightning_modules.{method}"])
    ]
    assert not wrong


def test_shared_parts_know_nothing_of_lightning_and_of_what_is_built_on_them():
    above = ["lightning", "pytorch_lightning", "lightning_modules.base", *(f"lightning_modules.{m}" for m in METHODS)]
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in filter(is_toolbox, SOURCES)
        for name in imported_names(path)
        if within(name, above)
    ]
    assert not wrong


def test_nobody_imports_a_private_name_of_another_package():
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in SOURCES
        for name in imported_names(path)
        if any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
        and not within(name, [".".join(path.relative_to(ROOT).parent.parts)])
    ]
    assert not wrong
