"""Train and measure every method and baseline of the leaderboard, as far as it is not there yet; write its pages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto leaderboard`."""
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="NAME", help="these entries")
    add("--seeds", nargs="+", type=int, default=[], metavar="N", help="these seeds of them")
    add("--jobs", type=_positive, default=1, metavar="N", help="how many at once (default: 1)")
    add("--threads", type=_positive, default=1, metavar="N", help="of each process (default: 1)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only say what is there and what is left to do")
    what.add_argument("--render", action="store_true", help="only make the pages anew from what was measured")
    what.add_argument("--again", action="store_true", help="also what was measured already; finished runs are kept")
    add("--entries", type=Path, metavar="YAML", help="who is on it (default: experiments/leaderboard/entries.yaml)")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs are found and made (default: runs)")
    add("--data", type=Path, default=Path("data/procedural"), metavar="DIR", help="ProceduralArt (data/procedural)")
    add("--out", type=Path, default=Path("docs/leaderboard"), metavar="DIR", help="the records (docs/leaderboard)")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of them")
    return int(text)


def main(args: argparse.Namespace) -> int:
    """Make what is missing, then the pages; 1 where an entry failed.

    Raises:
        ImpastoError: If the list of entries or a record is damaged.
    """
    from experiments.leaderboard.board import freeze_protocols, make_all, units_of
    from experiments.leaderboard.contestants import ENTRIES, read_roster
    from experiments.leaderboard.pages import write_pages
    from experiments.leaderboard.units import Place
    from experiments.leaderboard.workshop import Workshop

    roster = read_roster(args.entries or ENTRIES)
    place = Place(args.runs, args.out, args.data, args.device)
    units = units_of(roster, place, args.only, args.seeds)
    if args.dry_run:
        for unit in units:
            print(f"{unit.name}: {unit.state()}")
        return 0
    missing = [] if args.render else [unit for unit in units if args.again or not unit.is_measured()]
    frozen = freeze_protocols(roster, missing, place)
    outcome = make_all(missing, frozen, Workshop(args.threads), jobs=args.jobs, told=_tell)
    for name, sentence in outcome.failed.items():
        print(f"impasto: {name}: {sentence}", file=sys.stderr)
    if args.render or any(args.out.glob("*.json")):
        outdated = [unit.name for unit in units_of(roster, place, [], []) if unit.is_outdated()]
        for page in write_pages(roster, args.out, outdated):
            print(page)
    return int(bool(outcome.failed))


def _tell(line: str) -> None:
    print(line, flush=True)
