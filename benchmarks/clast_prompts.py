"""Measure what the clauses of a weighted prompt do to CLAST's pictures, by a classifier it never met in training.

python -m benchmarks.clast_prompts --checkpoint runs/clast/latest/checkpoints/best.ckpt

Contents of ProceduralArt's test split are painted with one artist alone and with pairs of artists, "A:0.5, B:0.5".
Printed are the classifier's mean probability of either artist, and how often the two are its first two choices; one
clause alone is the baseline, and two random artists would be the first two in 1 of 66 pictures.
"""

import argparse
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.results import write_json
from datamodules.images import read_image
from datamodules.sources import ProceduralArt
from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.weights import load_artist_classifier

LATEST = Path("runs/clast/latest/checkpoints/best.ckpt")


@torch.no_grad()
def probabilities(model: StyleTransferModule, contents: Tensor, prompt: str) -> Tensor:
    """Return the classifier's probabilities ``(N, A)`` of the contents ``(N, 3, H, W)`` painted with a prompt."""
    painted = model.stylize(contents, prompt=[prompt] * len(contents))
    logits: Tensor = load_artist_classifier("embedded")(painted)
    return logits.softmax(1)


def measure(model: StyleTransferModule, contents: Tensor, pairs: int, seed: int) -> dict[str, float]:
    """Return the mean figures over pairs of artists drawn by seed."""
    artists = load_artist_classifier("embedded").artists
    everyone = list(combinations(range(len(artists)), 2))
    generator = torch.Generator().manual_seed(seed)
    chosen = [everyone[n] for n in torch.randperm(len(everyone), generator=generator)[:pairs].tolist()]
    alone = {n: probabilities(model, contents, artists[n]) for n in {n for pair in chosen for n in pair}}
    rows = []
    for a, b in chosen:
        mixed = probabilities(model, contents, f"{artists[a]}:0.5, {artists[b]}:0.5")
        first_two = mixed.topk(2, dim=1).indices.sort(dim=1).values
        rows.append(
            {
                "with the clause": float(mixed[:, [a, b]].mean()),
                "without it": float((alone[a][:, b] + alone[b][:, a]).mean() / 2),
                "weaker of the two": float(mixed[:, [a, b]].amin(1).mean()),
                "both first": float((first_two == torch.tensor([a, b])).all(1).double().mean()),
            }
        )
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def main() -> None:
    """Measure one or several checkpoints and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, nargs="+", default=[LATEST])
    parser.add_argument("--data", default="data/procedural", help="folder of ProceduralArt")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    missing = [str(path) for path in options.checkpoint if not path.is_file()]
    if missing:
        print(f"Nothing measured: there is no {missing[0]}; train with `make train-clast`, or name a --checkpoint.")
        return
    source = ProceduralArt(options.data)
    source.prepare()
    contents = torch.stack([read_image(content.path) for content in source.contents("test")])
    results = {}
    for path in options.checkpoint:
        results[str(path)] = measure(load_checkpoint(path).eval(), contents, options.pairs, options.seed)
        print(path, *(f"{key} {value:.3f}" for key, value in results[str(path)].items()), sep="  ", flush=True)
    if options.out:
        write_json(results, options.out)


if __name__ == "__main__":
    main()
