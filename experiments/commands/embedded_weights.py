"""`impasto embedded-weights`: trains what lies in ``assets/embedded``, on freshly painted pictures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

NETWORKS = ("classifier", "clip", "perceptual")
DIFFUSION = "diffusion"
PAINTERS = sorted(path.parent.name for path in Path(__file__).parents[1].glob("*/painter.yaml"))


def add_arguments(parser: ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "network", nargs="?", default="all", choices=(*NETWORKS, "all", DIFFUSION, *PAINTERS, "painters"),
        help="which network to train (default: all, which is the first three; painters take hours, diffusion a GPU)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="draws the pictures and every number of the training")
    parser.add_argument(
        "--threads",
        type=int,
        help="CPU threads (default: 1, with which results are the same bit for bit; of painters all)",
    )
    parser.add_argument(
        "--contents",
        type=int,
        help="contents that every painter paints for the training (default: 240, of diffusion 6000)",
    )
    parser.add_argument("--steps", type=int, help="training steps of each network, instead of its own number")
    parser.add_argument("--batch", type=int, help="of diffusion: latents in a step of its denoiser (default: 128)")
    parser.add_argument(
        "--device",
        default="cpu",
        help="of diffusion: where to train, such as cuda (default: cpu, where results are the same bit for bit)",
    )
    parser.add_argument("--workers", type=int, default=1, help="of diffusion: processes that paint (default: 1)")
    parser.add_argument("--data", type=Path, default=Path("data/procedural-embedded"), help="where to paint")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        help="where the painters' runs live, and what of diffusion is unfinished (default: runs)",
    )
    parser.add_argument(
        "--from", dest="sources", type=Path, action="append", metavar="RUN",
        help="of painters: train nothing, and export this run or checkpoint; may be given several times",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="where to write (default: assets/embedded, where Impasto reads them)")


def main(args: Namespace) -> None:
    """Train, measure on held-out contents, write, and print the figures and the folder."""
    from lightning_modules.errors import ImpastoError
    from lightning_modules.weights import EMBEDDED

    folder = args.out or EMBEDDED
    if args.network in {*PAINTERS, "painters"}:
        _make_painters(args, folder)
    elif args.sources:
        raise ImpastoError("--from exports painters: write `impasto embedded-weights painters --from RUN`.")
    elif args.network == DIFFUSION:
        _train_diffusion(args, folder)
    else:
        _train_networks(args, folder)
    print(folder)


def _make_painters(args: Namespace, folder: Path) -> None:
    import torch

    from experiments.embedded import painters

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    names = PAINTERS if args.network == "painters" else [args.network]
    # One after the other, each whole before the next begins: what is done is there, whatever interrupts the rest.
    for source in args.sources or (painters.train(name, args.runs, seed=args.seed, steps=args.steps) for name in names):
        _show(source, painters.export(source, folder))


def _train_diffusion(args: Namespace, folder: Path) -> None:
    import torch

    from experiments.embedded import diffusion

    _demand_device(args.device)
    torch.set_num_threads(args.threads or 1)
    if args.device == "cpu":
        torch.use_deterministic_algorithms(True)
    else:
        torch.set_float32_matmul_precision("high")
    given = {"contents": args.contents, "steps": args.steps, "batch": args.batch}
    options = {name: value for name, value in given.items() if value is not None}
    options |= {"device": args.device, "workers": args.workers}
    _show(DIFFUSION, diffusion.train(folder, args.runs / DIFFUSION, seed=args.seed, **options))


def _demand_device(name: str) -> None:
    import torch

    from lightning_modules.errors import ImpastoError

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        raise ImpastoError(f"There is no device {name!r} here: name another with --device, such as cpu.") from None


def _train_networks(args: Namespace, folder: Path) -> None:
    import torch

    from datamodules.procedural import generate
    from experiments.embedded import classifier, clip, vgg
    from experiments.embedded.gallery import load_gallery

    torch.set_num_threads(args.threads or 1)
    torch.use_deterministic_algorithms(True)
    counts = {"train": args.contents or 240, "val": 24, "test": 24}
    # Not the seed of the data set that methods train on: there the judges shall not have seen the very pictures.
    root = generate(args.data, contents_per_split=counts, seed=args.seed + 1)
    train_set, held_out = load_gallery(root, "train"), load_gallery(root, "test")
    trainers = dict(zip(NETWORKS, (classifier.train, clip.train, vgg.train), strict=True))
    options = {} if args.steps is None else {"steps": args.steps}
    for name in NETWORKS if args.network == "all" else (args.network,):
        figures = trainers[name](train_set, held_out, folder, seed=args.seed, **options)
        _show(name, figures)


def _show(name: object, figures: Mapping[str, object]) -> None:
    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
