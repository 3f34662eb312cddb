"""The reference: a page for every public package, with what its docstrings say."""

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PACKAGES = ("lightning_modules", "datamodules", "callbacks", "metrics")


def pages(root: Path) -> dict[str, str]:
    """Return the source of every package's page, by its dotted name."""
    return {package: _page(package, modules) for package, modules in _packages(root).items()}


def path(package: str) -> str:
    """Return where the page of a package is."""
    return f"reference/{package}.md"


def navigation(root: Path) -> list[dict[str, list[dict[str, str]]]]:
    """Return the navigation: packages below those at the top."""
    names = list(_packages(root))
    return [{top: [{name: path(name)} for name in names if name.split(".")[0] == top]} for top in PACKAGES]


def place(root: Path, file: PurePosixPath, name: str) -> str | None:
    """Return where something of the public packages is described.

    Args:
        root: The repository.
        file: A module, or the folder of a package.
        name: Of a function or class in it, where there is such; of what is private, the public part around it.

    Returns:
        A page with an anchor; None of other files.
    """
    package = ".".join(file.parts if (root / file).is_dir() else file.parts[:-1])
    if file.parts[0] not in PACKAGES or not (root / file.parts[0]).is_dir() or file.suffix not in ("", ".py"):
        return None
    if (root / file).is_dir():
        return path(package) if (root / file / "__init__.py").is_file() else None
    if file.stem.startswith("_"):
        return path(package)
    module = f"{package}.{file.stem}"
    public = _public_part(name) if name in definitions(root / file) else ""
    return f"{path(package)}#{module}{public}"


def definitions(file: Path) -> set[str]:
    """Return the names of all functions, classes and methods of a module, those with their class: ``A.run``."""
    return set(_names(ast.parse(file.read_text(encoding="utf-8")).body, ""))


def _names(body: list[ast.stmt], owner: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield owner + node.name
        if isinstance(node, ast.ClassDef):
            yield from _names(node.body, f"{owner}{node.name}.")


def _public_part(name: str) -> str:
    """Return the part of a dotted name before what is private, each word after a dot.

    Examples:
        >>> _public_part("CLAST._contrast"), _public_part("CLAST.paint")
        ('.CLAST', '.CLAST.paint')
    """
    words = name.split(".")
    private = next((number for number, word in enumerate(words) if word.startswith("_")), len(words))
    return "".join(f".{word}" for word in words[:private])


def _packages(root: Path) -> dict[str, list[str]]:
    """Return the public modules of every package, by its dotted name."""
    found: dict[str, list[str]] = {}
    for top in PACKAGES:
        for file in sorted((root / top).rglob("__init__.py")):
            package = ".".join(file.parent.relative_to(root).parts)
            modules = sorted(each.stem for each in file.parent.glob("*.py") if not each.stem.startswith("_"))
            found[package] = [f"{package}.{module}" for module in modules]
    return found


def _page(package: str, modules: list[str]) -> str:
    # The package's own names come from its modules, and are described there.
    alone = "\n    options:\n      members: false\n      show_root_heading: false\n"
    return "\n".join([f"# {package}\n", f"::: {package}{alone}", *(f"::: {module}\n" for module in modules)])
