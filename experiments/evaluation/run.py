"""One evaluation, from its options to its files."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from callbacks.run_summary import commit
from datamodules.images import read_image
from experiments.evaluation.inputs import FOLDER, PAINTED, Inputs
from experiments.evaluation.journal import Journal, alone_in, start_anew
from experiments.evaluation.painters import Hand, hand_of
from experiments.evaluation.pairing import Folders, plan
from experiments.evaluation.protocol import (
    Protocol,
    check_pictures,
    freeze,
    is_frozen,
    read_protocol,
    write_protocol,
)
from experiments.evaluation.provenance import checkpoint_identity, command_of, configs_of, device_name
from experiments.evaluation.recipe import parse_recipe, protocol_file, read_mapping
from experiments.evaluation.result import FORMAT, PANEL, PANEL_PAIRS, ROWS, TABLE, metrics_of, rows_of, write_result
from experiments.evaluation.work import Work
from experiments.painting.inference import open_any
from experiments.progress import file_progress
from experiments.scoring.measure import TRUTH, Scorer, needs_of
from experiments.scoring.pairs import Pair
from lightning_modules.errors import ImpastoError
from metrics.catalogue import Judges, find

FROZEN = "protocol.yaml"
RESULTS = (TABLE, ROWS, FROZEN, FOLDER, PAINTED, *PANEL, PANEL_PAIRS)
UNMEASURED = {
    "artists": "the artist of both sets, which only a validation knows",
    "true_mask": "the masks of a grounder, which only a validation has",
    "panel": "a panel that learns the artists first: measure OUT/pictures with `impasto score --paintings`",
}
"""What some metrics need that no protocol has."""


def settle_protocol(args: argparse.Namespace) -> Protocol:
    """Return the protocol that options ask for, with its pictures found and their hashes checked.

    Raises:
        ImpastoError: If there is none, or its pictures are not there, or are others.
    """
    path = protocol_file(args.protocol or ("every" if args.content and args.style else "procedural"))
    settings = read_mapping(path)
    if not is_frozen(settings):
        recipe = parse_recipe(settings, path)
        return freeze(recipe, plan(recipe, Folders(args.content, args.style, args.jobs)), args.limit)
    if args.limit is not None or args.jobs is not None:
        raise ImpastoError(f"{path} is frozen, its pairs are settled: leave --limit and --jobs away.")
    roots = {name: folder for name in ("content", "style") if (folder := getattr(args, name)) is not None}
    protocol = read_protocol(settings, path, roots)
    check_pictures(protocol)
    return protocol


def evaluate(args: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Paint and measure a protocol with a method, as the options of `impasto evaluate` say.

    Returns:
        The path of the table, and what is in it.

    Raises:
        ImpastoError: If something does not fit, is missing or is damaged.
    """
    protocol = settle_protocol(args)
    out = args.out or _place_beside_run(args.checkpoint, protocol)
    names = args.metrics or protocol.recipe.metrics
    _check_metrics(names)
    model = open_any(args.checkpoint, configs_of(args), args.device)
    hand = hand_of(model, protocol.recipe, protocol.tasks, condition=args.condition, controls=dict(args.controls))
    about = {
        "method": model.method,
        "checkpoint": checkpoint_identity(args),
        "device": device_name(model.device),
        "threads": torch.get_num_threads(),
    }
    judges = _judges(args, protocol)
    scorer = Scorer(names, judges, model.device)  # what cannot be had is said before anything is painted
    with alone_in(out):
        anew = args.overwrite and start_anew(out, RESULTS)
        journal = Journal(out, _head(protocol, hand, about), anew=anew)
        work = Work(protocol, hand, Inputs(protocol, out), journal)
        write_protocol(protocol, out / FROZEN)
        files = _paint_and_measure(work, scorer, names)
        settings = hand.settings | {"metrics": list(names), "weights": judges.weights, "classifier": judges.classifier}
        result = {
            "format": FORMAT,
            "protocol": _described(protocol),
            **about,
            "settings": settings,
            "seconds": work.seconds(),
            "metrics": metrics_of(scorer, protocol),
            "command": command_of(args, out),
            "commit": commit(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        seconds = {name: entry["seconds"] for name, entry in work.journal.entries.items()}
        return write_result(out, result, rows_of(protocol, files, seconds, scorer, out)), result


def _place_beside_run(checkpoint: Path | None, protocol: Protocol) -> Path:
    if checkpoint is None or not checkpoint.is_dir():
        raise ImpastoError("Say where the results go: give --out DIR.")
    return checkpoint / "evaluation" / protocol.recipe.name


def _check_metrics(names: Sequence[str]) -> None:
    """Refuse metrics that no protocol can feed, before hours are spent on painting."""
    for name in names:
        networks = find(name.removesuffix(TRUTH)).networks
        need = next((need for need in (*needs_of(name), *networks) if need in UNMEASURED), None)
        if need is not None:
            raise ImpastoError(f"{name} needs {UNMEASURED[need]}.")


def _head(protocol: Protocol, hand: Hand, about: dict[str, Any]) -> dict[str, Any]:
    """Return what all pictures of the journal have in common."""
    return {
        "format": FORMAT,
        "protocol": protocol.sha256(),
        "checkpoint": about["checkpoint"]["sha256"],
        "settings": hand.settings,
        "device": about["device"],
        "threads": about["threads"],
    }


def _judges(args: argparse.Namespace, protocol: Protocol) -> Judges:
    networks = protocol.recipe.networks
    return Judges(args.weights or networks.weights, args.classifier or networks.classifier, None, read_image)


def _paint_and_measure(work: Work, scorer: Scorer, names: Sequence[str]) -> list[Pair]:
    """Return the files of every pair, all of them painted and measured."""
    with file_progress() as progress:
        work.paint(progress)
        files = [work.inputs.of(task) for task in work.protocol.tasks]
        bar = progress.add_task("measuring", total=len(files))
        scorer.add_pairs(files, lambda: progress.advance(bar))
        if any("styles" in needs_of(name) for name in names):
            scorer.add_styles(_styles(files), lambda: None)
    return files


def _styles(files: Sequence[Pair]) -> list[Path]:
    """Return the set of all styles, each once."""
    styles = list(dict.fromkeys(pair.style for pair in files if pair.style is not None))
    if not styles:
        raise ImpastoError(
            "A metric of sets compares with style pictures, and the protocol has none: give --style DIR."
        )
    return styles


def _described(protocol: Protocol) -> dict[str, Any]:
    """Return what tables say about a protocol; the rest is in its file."""
    recipe = protocol.recipe
    estimator = recipe.estimator
    drawn = " and ".join(f"{unit}s" for unit in estimator.resample) or "pairs"
    return {
        "name": recipe.name,
        "sha256": protocol.sha256(),
        "file": FROZEN,
        "source": recipe.source,
        "n": len(protocol.tasks),
        "seed": recipe.seed,
        "resize": recipe.resize,
        "crop": recipe.crop,
        "estimator": (
            f"percentile bootstrap of the mean, {estimator.level:.0%}, {estimator.resamples} resamples of {drawn}, "
            f"seed {estimator.seed}"
        ),
    }
