"""Turn the weights that a paper's authors released into a checkpoint of this repo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto convert`."""
    parser.add_argument("method", help="the method's name, for example clast")
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the released file")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")


def main(args: argparse.Namespace) -> None:
    """Convert, account for every tensor, and print the path last.

    Raises:
        ImpastoError: If the method has no mapping, or the file's tensors do not fill the model.
    """
    import torch

    from lightning_modules.errors import ImpastoError
    from lightning_modules.files import replacing
    from lightning_modules.paths import refuse_overwriting

    released = [args.source, *args.source.rglob("*")] if args.source.is_dir() else [args.source]
    refuse_overwriting([args.out], released)
    conversion = _mapping(args.method).convert(args.source)
    print(conversion.report())
    if not conversion.complete:
        raise ImpastoError(f"{args.source} does not hold all weights of {args.method}, whole: nothing was written.")
    with replacing(args.out) as temporary:
        torch.save(conversion.checkpoint, temporary)
    print(args.out)


def _mapping(method: str) -> ModuleType:
    import importlib

    import lightning_modules
    from lightning_modules.errors import ImpastoError

    root = Path(lightning_modules.__file__).parent
    known = sorted(path.parent.name for path in root.glob("*/convert.py"))
    if method not in known:
        raise ImpastoError(
            f"There is no conversion for '{method}'; there is one for {', '.join(known) or 'no method'}."
        )
    return importlib.import_module(f"lightning_modules.{method}.convert")
