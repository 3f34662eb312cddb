"""Turns jsonargparse's nested reports into one sentence with the nearest valid key."""

import importlib
import inspect
import re
from argparse import ArgumentError
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from lightning_modules.errors import ImpastoError


class CommandLineError(ImpastoError):
    """A command line or a YAML file that does not fit; the command exits with status 2."""


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` with the closest candidate, or nothing.

    Examples:
        >>> nearest("stylise", ["fit", "stylize"])
        " (did you mean 'stylize'?)"
        >>> nearest("xyz", ["fit", "stylize"])
        ''
    """
    matches = get_close_matches(word, list(candidates), n=1)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def explain(error: ArgumentError, keys: Sequence[str]) -> str:
    """Return the last cause of a parse error, the key it belongs to, and the nearest key where one was misspelt.

    Args:
        error: What jsonargparse raised.
        keys: The keys that the command line knows.
    """
    text = str(error).strip()
    key = re.search(r'Parser key "([^"]+)"', text)
    cause = _cause(text)
    unknown = re.search(r"(?i)unrecognized arguments: (?:--)?([\w.+/-]+)", cause) or re.search(
        r"(?:Option|Key|key) '([^']+)' is not (?:accepted|expected)", cause
    )
    classes = re.findall(r"class_path '([\w.]+)'", text)
    candidates = _keys_of(classes[-1]) if classes else keys
    hint = nearest(unknown.group(1), candidates) if unknown else ""
    where = f" (at {key.group(1)})" if key and key.group(1) not in cause else ""
    return f"{cause.rstrip('.')}{hint}{where}."


def _cause(text: str) -> str:
    """Choose the line that names the reason: the innermost one that is not about a path or None also being allowed."""
    broken = re.findall(r'in "<unicode string>", (line \d+, column \d+)', text)
    if broken:
        return f"A YAML value or file cannot be read: mind {broken[-1]}"
    noise = r"Given value|Subtypes:|Errors:|Does not validate|Expected a path|Problem with given class_path|Parser key "
    lines = [line.strip(" -") for line in text.splitlines() if line.strip(" -")]
    lines = [re.sub(r'^Parser key "[^"]+": ?', "", line) for line in lines]
    causes = [line for line in lines if line and not re.match(noise, line) and line != "Expected a <class 'NoneType'>"]
    cause = (causes or lines)[-1]
    cause = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", cause)
    given = re.search(r"Given value: (.+)", text)
    if given and cause.startswith(("Expected", "Import path")) and "Got value" not in cause:
        cause += f", got {given.group(1)}"
    return cause[:1].upper() + cause[1:]


def _keys_of(path: str) -> list[str]:
    """List the arguments of a class named by its import path; a base class may take what a class passes on."""
    module, _, name = path.rpartition(".")
    target = getattr(importlib.import_module(module), name, None)
    initialisers = [vars(owner).get("__init__") for owner in inspect.getmro(target)] if inspect.isclass(target) else []
    return [
        key
        for function in initialisers
        if inspect.isfunction(function)
        for key in inspect.signature(function).parameters
    ]
