"""Carry the comments of YAML files, where each constant's source stands, into what `--print_config` prints."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

Keys = tuple[str, ...]


@contextmanager
def sources_in_printed_config(arguments: Sequence[str]) -> Iterator[None]:
    """Annotate what is printed inside, where the command line asks for `--print_config`.

    Args:
        arguments: The command line; its `--config` files are where the comments come from.
    """
    if not any(argument.startswith("--print_config") for argument in arguments):
        yield
        return
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        sys.stdout.write(annotate(printed.getvalue(), _config_files(arguments)))


def annotate(printed: str, files: Sequence[Path]) -> str:
    r"""Append to every line the comment that its key has in one of the files, unless the value is another by now.

    Args:
        printed: YAML, one key a line.
        files: YAML files; of two with a comment on the same key, the later one counts.

    Returns:
        The same YAML with comments.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "full.yaml")
        ...     _ = path.write_text("model: {lr: 1.0}\nsize: 4 # [paper]\n")
        ...     print(annotate("size: 4\nmodel:\n  lr: 1.0", [path]))
        size: 4  # [paper]
        model:
          lr: 1.0
    """
    comments: dict[Keys, tuple[str, Any]] = {}
    for file in files:
        comments |= _comments(file.read_text(encoding="utf-8"))
    lines = printed.splitlines()
    for keys, line, value in _settings(printed):
        comment, meant = comments.get(keys, ("", None))
        if comment and (meant is None or meant == value):
            lines[line] += f"  {comment}"
    return "\n".join(lines) + "\n" * printed.endswith("\n")


def _comments(text: str) -> dict[Keys, tuple[str, Any]]:
    """Return comment and value by path of keys; of a comment beside a group, the value is None."""
    lines, found = text.splitlines(), {}
    for keys, line, value in _settings(text):
        before, mark, comment = lines[line].partition(" #")
        if mark and before.strip():
            found[keys] = (f"#{comment}", None if isinstance(value, dict) else value)
    return found


def _settings(text: str) -> list[tuple[Keys, int, Any]]:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        return [(keys, line, loader.construct_object(node, deep=True)) for keys, line, node in _walk(root, ())]
    finally:
        loader.dispose()


def _walk(node: yaml.Node | None, above: Keys) -> Iterator[tuple[Keys, int, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        keys = (*above, key.value)
        yield keys, key.start_mark.line, value
        yield from _walk(value, keys)


def _config_files(arguments: Sequence[str]) -> list[Path]:
    named = [after for flag, after in pairwise(arguments) if flag in ("-c", "--config")]
    named += [argument.removeprefix("--config=") for argument in arguments if argument.startswith("--config=")]
    return [path for path in map(Path, named) if path.is_file()]
