"""Let torchvision's PyPI wheel, which is linked against CUDA, import beside a CPU-only torch.

There the wheel's C++ operators cannot be loaded: ``import torchvision``, and with it lpips and open_clip, ends in
``operator torchvision::nms does not exist`` (pytorch/vision#9085, pytorch/pytorch#157648). Of those operators the
import needs the schemas of ``nms`` and ``qnms`` only; the former gets a pure-PyTorch kernel here, every other operator
keeps torchvision's own error message. ``torchvision.io`` cannot decode then: Impasto reads pictures with Pillow.

Nothing happens before torchvision is imported, and nothing where its operators load.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lightning_modules.errors import ImpastoError

if TYPE_CHECKING:  # `import lightning_modules` must not cost the seconds of `import torch`
    from torch import Tensor
    from torch.library import Library

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: "list[Library]" = []  # an operator lives as long as the library that defined it


def install() -> None:
    """Watch for the import of torchvision and mend it where it would fail; a second call changes nothing."""
    if not any(isinstance(finder, _TorchvisionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TorchvisionFinder())


def nms(boxes: "Tensor", scores: "Tensor", iou_threshold: float) -> "Tensor":
    """Return the indices of the boxes that greedy non-maximum suppression keeps.

    Args:
        boxes: ``(N, 4)``, corners ``x1, y1, x2, y2`` in pixels, with ``x1 <= x2`` and ``y1 <= y2``.
        scores: ``(N,)``.
        iou_threshold: A box whose overlap (intersection over union, in [0, 1]) with a better one is above this goes.

    Returns:
        Indices of the kept boxes in order of falling score, ``(K,)``, int64.

    Source: The semantics of ``torchvision/csrc/ops/cpu/nms_kernel.cpp``: stable order among equal scores, and a box
    without area suppresses nothing, because its overlap is not a number.
    """
    x1, y1, x2, y2 = boxes.unbind(1)
    areas = (x2 - x1) * (y2 - y1)
    rest = scores.argsort(descending=True, stable=True)
    kept = []
    while rest.numel():
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        width = (x2[rest].minimum(x2[best]) - x1[rest].maximum(x1[best])).clamp(min=0)
        height = (y2[rest].minimum(y2[best]) - y1[rest].maximum(y1[best])).clamp(min=0)
        overlap = width * height
        rest = rest[~(overlap / (areas[rest] + areas[best] - overlap) > iou_threshold)]
    return rest.new_tensor(kept)


class _TorchvisionFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _TorchvisionLoader(spec.loader.name, spec.loader.path)
        return spec


class _TorchvisionLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        mended = not _operators_load(Path(self.path).parent)
        if mended:
            _define_operators()
        super().exec_module(module)
        if mended:
            # nms asks this function whether there are operators; the other operators go on asking their own copy.
            module.ops.boxes._assert_has_ops = lambda: None


def _operators_load(package: Path) -> bool:
    import torch

    for library in sorted([*package.glob("_C*.so"), *package.glob("_C*.pyd"), *package.glob("_C*.dylib")]):
        try:
            torch.ops.load_library(library)
        except OSError:
            continue
    return hasattr(torch.ops.torchvision, "nms")


def _define_operators() -> None:
    import torch

    if torch.version.cuda is not None or torch.version.hip is not None:
        raise ImpastoError(
            f"The installed torchvision does not load beside torch {torch.__version__}, a GPU build: "
            "install the torchvision that was built for it (https://pytorch.org/get-started)."
        )
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    library.impl("nms", nms, "CPU")
    _libraries.append(library)
