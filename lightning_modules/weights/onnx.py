"""Reads the tensors of an ONNX file without the package onnx: a few fields of three kinds of protobuf messages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError

# Numbers of fields in onnx.proto3.
GRAPH = 7
NODE, INITIALIZER = 1, 5
NODE_INPUT, NODE_NAME = 1, 3
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9
FLOAT = 1


class OnnxGraph(NamedTuple):
    """What is read of a file.

    Attributes:
        tensors: The constants by name, those of float32 whose numbers are stored as bytes.
        inputs: The names of what goes into every node, by the node's name.
    """

    tensors: dict[str, Tensor]
    inputs: dict[str, list[str]]


def read_onnx(path: Path) -> OnnxGraph:
    """Read the constants and the wiring of an ONNX file.

    Raises:
        ImpastoError: If the file is missing or is none.
    """
    found = OnnxGraph({}, {})
    try:
        for number, graph in _fields(memoryview(path.read_bytes())):
            if number == GRAPH:
                _read_graph(graph, found)
    except (OSError, ValueError, IndexError, RuntimeError, TypeError, AttributeError) as error:
        raise ImpastoError(f"{path} is not a whole ONNX file ({error}): install its package again.") from error
    return found


def _read_graph(graph: memoryview, found: OnnxGraph) -> None:
    for number, value in _fields(graph):
        if number == INITIALIZER:
            name, tensor = _tensor(value)
            if tensor is not None:
                found.tensors[name] = tensor
        elif number == NODE:
            parts = list(_fields(value))
            name = next((_text(part) for kind, part in parts if kind == NODE_NAME), "")
            found.inputs[name] = [_text(part) for kind, part in parts if kind == NODE_INPUT]


def _tensor(message: memoryview) -> tuple[str, Tensor | None]:
    dims: list[int] = []
    name, kind, raw = "", 0, memoryview(b"")
    for number, value in _fields(message):
        if number == DIMS:
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif number == DATA_TYPE:
            kind = value
        elif number == NAME:
            name = _text(value)
        elif number == RAW_DATA:
            raw = value
    if kind != FLOAT or not raw:
        return name, None
    return name, torch.frombuffer(bytearray(raw), dtype=torch.float32).reshape(dims)


def _text(value: memoryview) -> str:
    return bytes(value).decode()


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of every field, in order: an int, or the bytes of anything else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        length, at = {1: (8, at), 5: (4, at)}.get(key & 7) or _varint(message, at)
        if key & 7 not in {1, 2, 5} or at + length > len(message):
            raise ValueError(f"field {key >> 3} is broken off")
        yield key >> 3, message[at : at + length]
        at += length


def _varints(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where the next field begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
