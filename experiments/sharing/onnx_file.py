"""A method as an ONNX file: exported, compared with PyTorch in onnxruntime, described inside the file."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from lightning_modules.base import StyleTransferModule
from lightning_modules.controls import Value
from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing
from lightning_modules.portable import ALPHA, LEAST_SIDE, Given, Graph
from lightning_modules.types import Condition

if TYPE_CHECKING:
    from collections.abc import Iterator

OPSET = 20
FURTHEST = 1e-3
"""Of a number in [0, 1]; beyond, the file is another network than the one that was trained."""
EXPORTED = (176, 144)
"""Height and width of the pictures that are traced: large enough that scans cut them into several chunks, since an axis
of length one would be taken for a constant."""
CHECKED = (((72, 104), (100, 66)), ((97, 70), (64, 111)), ((227, 218), (80, 80)))
"""Height and width of contents and of styles, from one chunk of a scan to several."""
STRENGTHS = (1.0, 0.6, 1.0)
LONGEST_SIDE = 16384
OUTPUT = "stylized"
TALKING = ("onnxscript", "onnx_ir", "torch.onnx")
INSTALL = "pip install 'impasto[export]'"


def write_onnx(
    model: StyleTransferModule,
    path: Path,
    *,
    by: Condition,
    controls: Mapping[str, Value] | None = None,
    prompts: Sequence[str] = (),
    about: Mapping[str, str],
) -> float:
    """Write a method as one ONNX file, whole or not at all.

    Args:
        model: The method, in evaluation mode, on the CPU.
        path: To write.
        by: What the file takes as a style, ``image`` or ``text``.
        controls: Values of controls: those of fixed ones for ever, of others as defaults.
        prompts: Names that a file by ``text`` knows.
        about: More metadata.

    Returns:
        The largest difference between onnxruntime's pictures and PyTorch's.

    Raises:
        ImpastoError: If the packages are missing, the method has no graph, or the difference is too large.
    """
    runtime = _packages()
    graph = model.portable(by, controls, prompts)
    program = _export(graph)
    with replacing(path) as temporary:
        program.save(str(temporary))
        session = open_session(runtime, temporary)
        difference = largest_difference(session, graph, model)
        if not difference <= FURTHEST:
            raise ImpastoError(
                f"The graph of {type(model).__name__} paints {difference:.1g} away from PyTorch, more than "
                f"{FURTHEST:g}: nothing was written."
            )
        program.model.metadata_props.update(metadata(graph, difference) | dict(about))
        program.save(str(temporary))
    return difference


def metadata(graph: Graph, difference: float) -> dict[str, str]:
    """Return what a file says about its inputs and how it was checked, texts by name."""
    inputs = [{**given._asdict(), "low": _finite(given.low), "high": _finite(given.high)} for given in graph.inputs]
    return {
        "inputs": json.dumps(inputs),
        "output": json.dumps({"name": OUTPUT, "shape": [1, 3, "content_height", "content_width"], "range": [0, 1]}),
        "fixed": json.dumps(dict(graph.fixed)),
        "codes": json.dumps(dict(graph.codes)),
        "least_side": str(LEAST_SIDE),
        "opset": str(OPSET),
        "largest_difference": f"{difference:.2g}",
    }


def open_session(runtime: Any, path: Path, threads: int = 0) -> Any:
    """Return a session of onnxruntime on the CPU; 0 threads lets it choose."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def largest_difference(session: Any, graph: Graph, model: StyleTransferModule) -> float:
    """Return how far onnxruntime's pictures are from those of `stylize`, at several sizes and strengths."""
    differences = []
    for number, ((content, style), strength) in enumerate(zip(CHECKED, STRENGTHS, strict=True)):
        fed = {
            "content": _blotches(content, 2 * number),
            "style": _blotches(style, 2 * number + 1),
            **{given.name: torch.tensor([given.default]) for given in graph.inputs if given.default is not None},
            ALPHA: torch.tensor([strength]),
        }
        if graph.codes:
            fed["code"] = torch.tensor(list(graph.codes.values())[number % len(graph.codes)])[None]
        names = [given.name for given in graph.inputs]
        (painted,) = session.run([OUTPUT], {name: fed[name].numpy() for name in names})
        differences.append(float((torch.from_numpy(painted) - _painted(model, graph, fed, number)).abs().max()))
    return max(differences)


def _painted(model: StyleTransferModule, graph: Graph, fed: Mapping[str, Tensor], number: int) -> Tensor:
    changing = {given.name: float(fed[given.name]) for given in graph.inputs if given.default is not None}
    style = {"prompt": list(graph.codes)[number % len(graph.codes)]} if graph.codes else {"style": fed["style"]}
    return model.stylize(fed["content"], controls={**graph.fixed, **changing}, **cast(dict[str, Any], style))


def _blotches(size: tuple[int, int], seed: int) -> Tensor:
    """Return a picture of soft patches of colour and a little grain."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic")
    return (smooth + 0.05 * torch.randn(1, 3, *size, generator=generator)).clamp(0, 1)


def _export(graph: Graph) -> Any:
    for parameter in graph.network.parameters():
        parameter.requires_grad_(False)
    examples = tuple(_example(given) for given in graph.inputs)
    sides = tuple(
        {
            axis: torch.export.Dim.DYNAMIC(min=LEAST_SIDE, max=LONGEST_SIDE)
            for axis, side in enumerate(given.shape)
            if isinstance(side, str)
        }
        for given in graph.inputs
    )
    with torch.no_grad(), _quiet():
        program = torch.export.export(graph.network, examples, dynamic_shapes=(sides,), strict=False)
        exported: Any = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=[given.name for given in graph.inputs],
            output_names=[OUTPUT],
            verbose=False,
        )
    for value, given in zip(exported.model.graph.inputs, graph.inputs, strict=True):
        value.shape = type(value.shape)(given.shape)
    (painted,) = exported.model.graph.outputs
    painted.shape = type(painted.shape)((1, 3, *graph.inputs[0].shape[2:]))
    return exported


def _example(given: Given) -> Tensor:
    if given.default is not None:
        return torch.tensor([0.5])  # no number with a meaning, which the graph could take for a constant
    height, width = EXPORTED
    sides = [side if isinstance(side, int) else width if side.endswith("width") else height for side in given.shape]
    return torch.rand(sides, generator=torch.Generator().manual_seed(0))


@contextmanager
def _quiet() -> "Iterator[None]":
    """Keep the exporter's remarks on its own insides from the user."""
    levels = {name: logging.getLogger(name).level for name in TALKING}
    for name in TALKING:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _packages() -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch asks for it, with pages of its own
    except ImportError as error:
        raise ImpastoError(f"ONNX needs packages that are not installed ({error.name}): {INSTALL}.") from error
    return onnxruntime
