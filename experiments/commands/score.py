"""Measure a folder of stylised pictures with the metrics of the papers, every number with its convention."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:  # `impasto score --help` must not cost the seconds of `import torch`
    from collections.abc import Sequence

    from experiments.scoring.measure import Score, Scorer
    from experiments.scoring.pairs import Pair

TABLES = (".json", ".csv", ".md")
NOT_IN_FOLDERS = {
    "mask": "masks, which no folder brings: run `impasto validate` with datamodules.local_style.LocalStyleDataModule",
    "artists": "a validation, which knows whose each picture is: score the folders of every artist alone",
}
"""What some metrics need that no folder has, and what to do instead."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto score`."""
    parser.add_argument("--metrics", required=True, help="names with commas between them; docs/metrics.md lists them")
    parser.add_argument("--stylized", type=Path, required=True, metavar="DIR", help="the pictures to measure")
    parser.add_argument("--content", type=Path, metavar="DIR", help="what they were made from")
    parser.add_argument("--style", type=Path, metavar="DIR", help="what they were painted after: a folder or a picture")
    parser.add_argument(
        "--pairs", type=Path, metavar="CSV",
        help="columns stylized, content, style, artist, prompt, clip, frame; without it, file names tell what belongs "
        "together: a.png or a_b.png goes with content a and style b",
    )  # fmt: skip
    parser.add_argument("--per-image", type=Path, metavar="CSV", help="also write the values of every picture")
    parser.add_argument(
        "--weights", choices=("auto", "pretrained", "hed", "embedded", "random"), default="auto",
        help="where the judging networks come from (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--classifier", default="embedded", metavar="FILE",
        help="artist classifier of the deception rate, as `make train-artist` exports it (default: embedded)",
    )  # fmt: skip
    parser.add_argument(
        "--paintings", type=Path, metavar="DIR",
        help="what panel_named learns the artists from: a folder of paintings for each (default: that of --style)",
    )  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="table to write: .json, .csv or .md")


def main(args: argparse.Namespace) -> None:
    """Measure, print the table, and print the path of what was written last.

    Raises:
        ImpastoError: If names, folders or pictures do not fit.
    """
    from datamodules.images import read_image
    from experiments.painting.inference import choose_device
    from experiments.scoring.measure import Scorer
    from experiments.scoring.pairs import files_of
    from experiments.scoring.tables import render_per_image, render_table
    from experiments.scoring.targets import check_targets, write_all
    from lightning_modules.errors import ImpastoError
    from metrics.catalogue import Judges, find

    names = _names(args.metrics)
    needs = {need for name in names for need in find(name).needs}
    for need, remedy in NOT_IN_FOLDERS.items():
        if need in needs:
            asking = ", ".join(name for name in names if need in find(name).needs)
            raise ImpastoError(f"{asking} needs {remedy}.")
    _check_folders(args)
    styles = _styles(args.style, [name for name in names if "styles" in find(name).needs])
    pairs = _pairs(args, needs)
    check_targets(_targets(args), {*files_of(pairs), *styles, *_files(args)})
    judges = Judges(args.weights, args.classifier, _paintings(args, names), lambda path: read_image(path)[None])
    scorer = Scorer(names, judges, choose_device(args.device))
    _measure(scorer, pairs, styles)
    table = scorer.table()
    texts = {args.out: render_table(table, args.out.suffix)}
    if args.per_image is not None:
        texts[args.per_image] = render_per_image(pairs, scorer.rows)
    write_all(texts)
    _show(table)
    for path in reversed(texts):
        print(path)


def _names(text: str) -> list[str]:
    from lightning_modules.errors import ImpastoError

    names = list(dict.fromkeys(name.strip().replace("-", "_") for name in text.split(",") if name.strip()))
    if not names:
        raise ImpastoError("--metrics names no metric: write, for example, --metrics ssim,lpips,sifid,chamfer.")
    return names


def _check_folders(args: argparse.Namespace) -> None:
    from experiments.scoring.pairs import check_folder

    check_folder(args.stylized, "--stylized")
    check_folder(args.content, "--content")
    check_folder(args.paintings, "--paintings")
    if args.style is not None and not args.style.is_file():
        check_folder(args.style, "--style")


def _targets(args: argparse.Namespace) -> dict[Path, Sequence[str]]:
    from lightning_modules.errors import ImpastoError

    if args.per_image is None:
        return {args.out: TABLES}
    if args.per_image == args.out:
        raise ImpastoError(f"--out and --per-image are both {args.out}: give them two names.")
    return {args.out: TABLES, args.per_image: (".csv",)}


def _files(args: argparse.Namespace) -> list[Path]:
    """Return the files beside pictures that are read."""
    classifier = Path(args.classifier)
    files = [args.pairs, classifier, classifier.with_suffix(".json")]
    return [path for path in files if path is not None and path.is_file()]


def _styles(style: Path | None, names: Sequence[str]) -> list[Path]:
    """List the reference set, where a metric compares sets."""
    from datamodules.images import list_images
    from lightning_modules.errors import ImpastoError

    if not names:
        return []
    if style is None:
        raise ImpastoError(f"{names[0]} compares with a set of styles: give --style DIR.")
    return [style] if style.is_file() else list_images(style)


def _paintings(args: argparse.Namespace, names: Sequence[str]) -> dict[str, list[Path]] | None:
    """List what the panel learns from, by artist, where it is asked."""
    from datamodules.sources import paintings_by_artist
    from lightning_modules.errors import ImpastoError
    from metrics.catalogue import find

    if not any("panel" in find(name).networks for name in names):
        return None
    folder = args.paintings or args.style
    if folder is None or folder.is_file():
        raise ImpastoError("panel_named learns the artists from paintings: give --paintings DIR, a folder for each.")
    found = {artist: [work.path for work in works] for artist, works in paintings_by_artist(folder).items()}
    return cast("dict[str, list[Path]]", found)  # what lies in folders is no record


def _pairs(args: argparse.Namespace, needs: set[str]) -> list[Pair]:
    from experiments.scoring.pairs import pairs_by_name, pairs_from_csv

    if args.pairs is not None:
        return pairs_from_csv(args.pairs, args.stylized, args.content, args.style)
    # A folder that no metric asks about needs no partner for every picture.
    content = args.content if needs & {"content", "artist"} else None
    style = args.style if needs & {"style", "artist", "prompt"} else None
    return pairs_by_name(args.stylized, content, style)


def _measure(scorer: Scorer, pairs: Sequence[Pair], styles: Sequence[Path]) -> None:
    from experiments.progress import file_progress

    with file_progress() as progress:
        task = progress.add_task("measuring", total=len(pairs) + len(styles))
        scorer.add_pairs(pairs, lambda: progress.advance(task))
        scorer.add_styles(styles, lambda: progress.advance(task))


def _show(table: Sequence[Score]) -> None:
    from rich.console import Console
    from rich.table import Table

    from experiments.scoring.tables import ARROWS, DIGITS

    shown = Table()
    for title, justify in (("metric", "left"), ("", "left"), ("value", "right"), ("pictures", "right")):
        shown.add_column(title, justify=justify)  # type: ignore[arg-type]  # a literal either way
    for score in table:
        shown.add_row(score.key, ARROWS[score.better], f"{score.value:.{DIGITS}g}", str(score.pictures))
    Console().print(shown)
    for score in table:
        print(f"{score.key}: {score.convention}")
