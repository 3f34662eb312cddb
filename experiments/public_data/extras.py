"""Packages of `impasto[data]`, imported where they are used."""

import importlib
from typing import Any

from lightning_modules.errors import ImpastoError


def extra(module: str) -> Any:
    """Return a module that only preparing data needs.

    Raises:
        ImpastoError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = module.partition(".")[0]
        raise ImpastoError(f"Preparing this data needs {name}: pip install 'impasto[data]'.") from error
