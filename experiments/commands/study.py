"""Ask people: a page of shuffled pictures of evaluated methods, and what the votes that come back say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE, KEY = "study.html", "key.json"
RESULTS = ("votes.json", "votes.csv")
QUESTIONS = ("overall", "content", "style", "deception")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto study`."""
    parser.add_argument(
        "folders", type=Path, nargs="*", metavar="EVALUATION",
        help="two or more folders of `impasto evaluate` on the same protocol",
    )  # fmt: skip
    parser.add_argument(
        "--questions", type=_questions, default=("overall",), metavar="NAMES",
        help=f"of {', '.join(QUESTIONS)}, with commas between them (default: overall)",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", type=_positive, default=20, metavar="N", help="pairs shown for each two methods (default: 20)"
    )
    parser.add_argument(
        "--pictures", type=_positive, default=10, metavar="N",
        help="for deception: pictures of each method, and as many paintings (default: 10)",
    )  # fmt: skip
    parser.add_argument("--together", action="store_true", help="show all methods at once, rather than two")
    parser.add_argument(
        "--per-voter", type=_positive, metavar="N", help="ask each person N of the questions (default: all)"
    )
    parser.add_argument("--seed", type=int, help="draw the same study again (default: another one every time)")
    parser.add_argument("--votes", type=Path, nargs="+", metavar="CSV", help="count votes that the page saved")
    parser.add_argument("--key", type=Path, metavar="FILE", help=f"of --votes: the study's {KEY}")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def _questions(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in QUESTIONS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"'{text}' is not among {', '.join(QUESTIONS)}")
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of at least 1")
    return int(text)


def main(args: argparse.Namespace) -> None:
    """Write a study, or count votes; print the path of what was written last.

    Raises:
        ImpastoError: If folders, votes and key do not fit.
    """
    from lightning_modules.errors import ImpastoError

    if args.votes is None:
        _ask(args)
        return
    if args.folders or args.key is None:
        raise ImpastoError(f"--votes counts: give --key with the study's {KEY}, and no folder.")
    _count(args)


def _ask(args: argparse.Namespace) -> None:
    import json

    from experiments.scoring.targets import write_all
    from experiments.study.page import render_page
    from experiments.study.questions import Plan, make_study, read_methods

    page, key = args.out / PAGE, args.out / "key" / KEY
    _refuse_existing(page, key)
    methods, protocol = read_methods(args.folders)
    plan = Plan(args.questions, args.pairs, args.pictures, args.together, args.seed)
    study = make_study(methods, protocol, plan)
    write_all({key: json.dumps(study.key(), indent=1) + "\n", page: render_page(study, args.per_voter)})
    print(
        f"{len(study.trials)} questions about {' and '.join(study.methods)}; {key} says whose each picture is, keep it."
    )
    print(page)


def _count(args: argparse.Namespace) -> None:
    import json

    from experiments.scoring.tables import csv_text
    from experiments.scoring.targets import write_all
    from experiments.study.votes import count_votes, read_key, read_votes, table_of
    from lightning_modules.paths import refuse_overwriting

    table, rows = (args.out / name for name in RESULTS)
    refuse_overwriting((table, rows), (*args.votes, args.key))
    key = read_key(args.key)
    counted = count_votes(read_votes(args.votes, key), key)
    write_all({rows: csv_text(table_of(counted)), table: json.dumps(counted, indent=2) + "\n"})
    _show(counted)
    print(table)


def _refuse_existing(*paths: Path) -> None:
    from lightning_modules.errors import ImpastoError

    for path in paths:
        if path.exists():
            raise ImpastoError(f"{path} is there already, and votes may be out for it: give another --out.")


def _show(counted: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from experiments.study.votes import table_of

    protocol = counted["protocol"]
    title = f"{counted['votes']} votes of {counted['voters']} people on {protocol['name']} {protocol['sha256'][:12]}"
    header, *lines = table_of(counted)
    shown = Table(*header, title=title)
    for line in lines:
        shown.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in line))
    Console().print(shown)
