"""Turn a trained method into a file for others: safetensors, ONNX that paints without PyTorch, or a hub's page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.options import assignment

if TYPE_CHECKING:  # `impasto export --help` must not cost the seconds of `import torch`
    from collections.abc import Mapping

    from lightning_modules.types import Condition

FORMATS = {"safetensors": ".safetensors", "onnx": ".onnx"}

LICENCE = "apache-2.0"
"""Of this repository, as hubs spell it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto export`."""
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="a .ckpt file, the folder of a run, embedded:NAME, hf:USER/NAME"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="safetensors loads back into Impasto")
    parser.add_argument("--out", type=Path, required=True, help="file to write; safetensors has a JSON file beside it")
    parser.add_argument("--half", action="store_true", help="of safetensors: half precision, in half the space")
    parser.add_argument(
        "--by", choices=("image", "text"),
        help="of ONNX: what the file takes as a style (default: a picture, where the method takes one)",
    )  # fmt: skip
    parser.add_argument(
        "--prompt", action="append", default=[], metavar="NAME",
        help="of ONNX by text: a style in words that the file shall know; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--set", dest="controls", metavar="CONTROL=VALUE", type=assignment, action="append", default=[],
        help="of ONNX: an inference control; some are fixed in the file, the others get another default",
    )  # fmt: skip
    parser.add_argument("--push-to-hub", metavar="USER/NAME", help="also upload it, with a model card; never otherwise")
    parser.add_argument("--private", action="store_true", help="of --push-to-hub: a page that is made is yours alone")
    parser.add_argument("--licence", default=LICENCE, help=f"of --push-to-hub: what the card says (default: {LICENCE})")


def main(args: argparse.Namespace) -> None:
    """Export, and print the path of the file last, or the page's address.

    Raises:
        ImpastoError: If the command cannot do what it was asked to.
    """
    from experiments.painting.inference import find_checkpoint
    from lightning_modules.checkpoints import read_checkpoint
    from lightning_modules.hub import check_name

    _check(args)
    if args.push_to_hub:
        check_name(args.push_to_hub)
    source = find_checkpoint(args.checkpoint)
    checkpoint, recipe = read_checkpoint(source)
    if args.format == "onnx":
        _write_onnx(args, source, recipe)
    else:
        _write_safetensors(args, source, checkpoint, recipe)
    address = None if args.push_to_hub is None else _push(args, source, checkpoint, recipe)
    print(args.out)
    if address is not None:
        print(address)


def _check(args: argparse.Namespace) -> None:
    from lightning_modules.errors import ImpastoError

    suffix = FORMATS[args.format]
    if args.out.suffix != suffix:
        raise ImpastoError(f"{args.out} does not end in {suffix}, which --format {args.format} writes.")
    for path in _targets(args):
        if path.exists():
            raise ImpastoError(f"{path} is there already and stays as it is: choose another --out.")
    stray = [name for name in ("by", "prompt", "controls") if getattr(args, name)]
    if args.format == "safetensors" and stray:
        option = {"controls": "set"}.get(stray[0], stray[0])
        raise ImpastoError(f"--{option} is for --format onnx: a safetensors file keeps every way to be asked.")
    if args.format == "onnx" and args.half:
        raise ImpastoError("--half is for --format safetensors: an ONNX file computes in float32.")


def _targets(args: argparse.Namespace) -> list[Path]:
    return [args.out] if args.format == "onnx" else [args.out, args.out.with_suffix(".json")]


def _write_safetensors(
    args: argparse.Namespace, source: Path, checkpoint: Mapping[str, Any], recipe: Mapping[str, Any]
) -> None:
    from lightning_modules.checkpoints import class_of
    from lightning_modules.shipped import write_painter

    without = getattr(class_of(recipe), "loss_parts", ())
    write_painter(checkpoint, args.out, without=without, measured=_facts(source, checkpoint), half=args.half)


def _write_onnx(args: argparse.Namespace, source: Path, recipe: Mapping[str, Any]) -> None:
    import hashlib

    from experiments.cli import version
    from experiments.painting.inference import load_model
    from experiments.sharing.onnx_file import write_onnx
    from lightning_modules.base import StyleTransferModule
    from lightning_modules.checkpoints import class_of
    from lightning_modules.errors import ImpastoError

    kind = class_of(recipe)
    if not issubclass(kind, StyleTransferModule):
        raise ImpastoError(
            f"{kind.__name__} draws with a diffusion pipeline, step by step, which is no single ONNX graph: export it "
            "as safetensors, or load the adapter beside its checkpoint with diffusers."
        )
    by: Condition = args.by or ("text" if args.prompt or "image" not in kind.conditions else "image")
    if (by == "text") != bool(args.prompt):
        raise ImpastoError(
            "A file by text knows the names that it is given: say --prompt NAME for each, and not with --by image."
        )
    model = load_model(source, "cpu")
    about = {
        "method": model.method,
        "class": kind.__name__,
        "version": version(),
        "checkpoint_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "frozen": " | ".join(f"{name}: {origin}" for name, origin in model.frozen_sources().items()),
    }
    difference = write_onnx(model, args.out, by=by, controls=dict(args.controls), prompts=args.prompt, about=about)
    print(f"onnxruntime's pictures are {difference:.1g} from PyTorch's, at three sizes")


def _facts(source: Path, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that belong to the weights: of the run, or those that a painter's own file holds."""
    from experiments.sharing.card import painter_facts, run_facts

    measured = checkpoint.get("measured")
    return painter_facts(measured) if measured else run_facts(source)


def _push(args: argparse.Namespace, source: Path, checkpoint: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    from experiments.sharing.card import GRAPH, write_card
    from lightning_modules.checkpoints import class_of
    from lightning_modules.experiment import signature_of
    from lightning_modules.hub import DESCRIPTION, WEIGHTS, push

    signature, kind = signature_of(checkpoint, str(source)), class_of(recipe)
    names = [GRAPH] if args.format == "onnx" else [WEIGHTS, DESCRIPTION]
    files = dict(zip(names, _targets(args), strict=True))
    facts = _facts(source, checkpoint)

    def card(there: set[str]) -> str:
        return write_card(signature, kind, facts, there, args.push_to_hub, args.licence)

    return push(args.push_to_hub, files, card, private=args.private)
