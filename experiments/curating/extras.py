"""Packages that only some need: asked for where they are used, named in one sentence where they are missing."""

import importlib
from types import ModuleType

from lightning_modules.errors import ImpastoError


def needed(module: str, extra: str) -> ModuleType:
    """Return a module of an optional package.

    Args:
        module: Its name.
        extra: The extra of ``pyproject.toml`` that installs the package.

    Raises:
        ImpastoError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImpastoError(
            f"This needs the package {module.partition('.')[0]}: run `pip install -e '.[{extra}]'`."
        ) from error
