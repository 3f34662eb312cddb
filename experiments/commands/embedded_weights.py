"""`impasto embedded-weights`: trains the networks of ``assets/embedded`` on freshly painted pictures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

NETWORKS = ("classifier", "clip", "perceptual")


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "network", nargs="?", default="all", choices=(*NETWORKS, "all"), help="which network to train (default: all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the pictures and every number of the training")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; results are bit for bit the same with 1")
    parser.add_argument("--contents", type=int, default=240, help="contents that every painter paints for the training")
    parser.add_argument("--steps", type=int, help="training steps of each network, instead of its own number")
    parser.add_argument("--data", type=Path, default=Path("data/procedural-embedded"), help="where to paint")
    parser.add_argument("--out", type=Path, help="where to write (default: assets/embedded, where Impasto reads them)")


def main(args: Namespace) -> None:
    """Paint, train, measure on held-out contents, write, and print the figures and the folder."""
    import torch

    from datamodules.procedural import generate
    from experiments.embedded import classifier, clip, vgg
    from experiments.embedded.gallery import load_gallery
    from lightning_modules.weights import EMBEDDED

    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    folder = args.out or EMBEDDED
    counts = {"train": args.contents, "val": 24, "test": 24}
    # Not the seed of the data set that methods train on: there the judges shall not have seen the very pictures.
    root = generate(args.data, contents_per_split=counts, seed=args.seed + 1)
    train_set, held_out = load_gallery(root, "train"), load_gallery(root, "test")
    trainers = dict(zip(NETWORKS, (classifier.train, clip.train, vgg.train), strict=True))
    options = {} if args.steps is None else {"steps": args.steps}
    for name in NETWORKS if args.network == "all" else (args.network,):
        figures = trainers[name](train_set, held_out, folder, seed=args.seed, **options)
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    print(folder)
