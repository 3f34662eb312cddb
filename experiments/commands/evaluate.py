"""Paint and measure a protocol: pairs told by the hashes of their pictures, numbers with intervals, seconds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.options import add_model_options, assignment

if TYPE_CHECKING:  # `impasto evaluate --help` must not cost the seconds of `import torch`
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto evaluate`."""
    add_model_options(parser, required=False)
    parser.add_argument(
        "--protocol", metavar="NAME|FILE",
        help="clast, contraast, contraast-video, every, least, neat, neat-512, nsync, procedural, styleshot, or a file "
        "(default: procedural; with --content and --style: every)",
    )  # fmt: skip
    parser.add_argument("--content", type=Path, metavar="DIR", help="the contents, or a folder of frames for each clip")
    parser.add_argument("--style", type=Path, metavar="DIR", help="the style pictures; folders in it are artists")
    parser.add_argument("--jobs", type=Path, metavar="CSV", help="of least: the table of regions to paint")
    parser.add_argument("--limit", type=_positive, metavar="N", help="take N pairs, or N clips, spread over all")
    parser.add_argument(
        "--freeze", type=Path, metavar="FILE", help="paint nothing: write the pairs and the hashes of their pictures"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="results and pictures; what was stopped there goes on (default, of a run: RUN/evaluation/PROTOCOL)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="start anew in --out")
    parser.add_argument("--metrics", type=_names, help="instead of the protocol's: names with commas between them")
    parser.add_argument(
        "--condition", choices=("image", "text"), help="what a method that takes both is given of a style"
    )
    parser.add_argument(
        "--set", dest="controls", metavar="CONTROL=VALUE", type=assignment, action="append", default=[],
        help="an inference control of the method, as of `impasto stylize`",
    )  # fmt: skip
    parser.add_argument(
        "--weights", choices=("auto", "pretrained", "hed", "embedded", "random"),
        help="where the judging networks come from (default: as the protocol says)",
    )  # fmt: skip
    parser.add_argument("--classifier", metavar="FILE", help="artist classifier of the deception rate")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of pairs")
    return int(text)


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip().replace("-", "_") for name in text.split(",") if name.strip()))
    if not names:
        raise argparse.ArgumentTypeError("it names no metric: write, for example, ssim,lpips,sifid")
    return names


def main(args: argparse.Namespace) -> None:
    """Freeze a protocol, or evaluate; print the path of what was written last.

    Raises:
        ImpastoError: If something does not fit, is missing or is damaged.
    """
    from experiments.evaluation.run import evaluate
    from lightning_modules.errors import ImpastoError

    chosen = [word for word in (args.checkpoint, args.method, args.config) if word is not None]
    if args.freeze is not None:
        if chosen or args.out is not None:
            raise ImpastoError("--freeze settles the pairs and paints nothing: leave --checkpoint and --out away.")
        _freeze(args)
        return
    if not chosen:
        raise ImpastoError("Say what paints: give --checkpoint, or --method with one that needs no training.")
    table, result = evaluate(args)
    _show(result)
    print(table)


def _freeze(args: argparse.Namespace) -> None:
    from experiments.evaluation.protocol import write_protocol
    from experiments.evaluation.run import settle_protocol
    from lightning_modules.errors import ImpastoError

    if args.freeze.suffix not in (".yaml", ".yml"):
        raise ImpastoError(f"{args.freeze} cannot be written: its name must end in .yaml.")
    if args.freeze.exists():
        raise ImpastoError(f"{args.freeze} is there already: choose another name, or remove it.")
    protocol = settle_protocol(args)
    write_protocol(protocol, args.freeze)
    print(f"{protocol.recipe.name} {protocol.sha256()[:12]}: {len(protocol.tasks)} pairs")
    print(args.freeze)


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from experiments.scoring.tables import ARROWS, DIGITS

    protocol, seconds = result["protocol"], result["seconds"]
    where = f"{result['device']}, {result['threads']} threads"
    shown = Table(title=f"{result['method']} on {protocol['name']} {protocol['sha256'][:12]}, {protocol['n']} pairs")
    for title, justify in (("metric", "left"), ("", "left"), ("mean", "right"), ("interval", "right"), ("n", "right")):
        shown.add_column(title, justify=justify)  # type: ignore[arg-type]  # a literal either way
    for key, entry in result["metrics"].items():
        ends = "" if entry["low"] is None else f"{entry['low']:.4g} to {entry['high']:.4g}"
        shown.add_row(key, ARROWS[entry["better"]], f"{entry['mean']:.{DIGITS}g}", ends, str(entry["n"]))
    Console().print(shown)
    print(f"{seconds['median']:.4g} s a picture, median of {seconds['n']} after {seconds['warm_up']} more, {where}")
