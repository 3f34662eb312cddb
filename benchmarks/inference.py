"""Time and memory of painting with every feed-forward method, full-size networks with random weights.

OMP_NUM_THREADS=1 python -m benchmarks.inference --out inference.json
python -m benchmarks.inference --megapixels --out megapixels.json
python -m benchmarks.inference --seams 1408 --tiles 0 512
python -m benchmarks.inference --seams 1408 --tiles 0 512 --checkpoint runs/neat/latest --double

The first form paints pictures of 256x256, 512x512 and 1920x1080 pixels, by all methods in turn, round after round, with
a new style picture every time; the first round does not count. It prints medians and their ratios to ContraAST's,
beside table 2 of the NeAT paper, whose GPU is not named. The second form paints one picture of 1, 2, 8 and 33
megapixels by every method that paints large pictures in tiles, each in a process of its own: seconds a megapixel, and
the most memory that the process had (on a GPU, that torch had there). On a CPU the time is that of all threads.
The third form paints one square picture by each of these methods with two sizes of tiles, of which 0 is the whole, and
says how far the two are apart: at most, and on average around the borders of the tiles and away from them. Random
weights may paint nothing that depends on a place; --checkpoint takes trained ones, and --double tells what tiles change
from what rounding does.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from benchmarks.meter import Meter
from benchmarks.results import write_json
from experiments.painting.inference import load_model
from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import build, class_of

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
SIZES = ((256, 256), (512, 512), (1920, 1080))
LARGE = ((1366, 768), (1920, 1080), (3840, 2160), (7680, 4320))
BASE = "contraast"
PAPER = {
    "contraast": (0.030, 0.043, 0.150),
    "PAMA": (0.035, 0.051, 0.189),
    "SANet": (0.030, 0.043, 0.163),
    "neat": (0.049, 0.068, 0.226),
    "neat, no prior blurring": (0.047, 0.058, 0.196),
}
"""Seconds a picture at `SIZES`: NeAT, table 2."""


def recipes(weights: str = "random") -> dict[str, dict[str, Any]]:
    """Return how the network of every feed-forward method's full profile is configured; embedded ones are small."""
    found = {}
    for path in sorted(EXPERIMENTS.glob("*/full.yaml")):
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]
        kind = class_of(recipe)
        if issubclass(kind, StyleTransferModule) and kind.trains and not kind.optimises:
            found[path.parent.name] = {**recipe, "init_args": {**recipe["init_args"], "weights": weights}}
    return found


def paint(model: StyleTransferModule, content: Tensor, style: Tensor) -> Tensor:
    """Paint by a style picture where the method takes one, else by a name."""
    return model.stylize(content, style=style) if "image" in model.conditions else model.stylize(content, prompt="a b")


def pictures(size: tuple[int, int], style_side: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return a content of ``(width, height)`` and a square style picture, noise of a seed."""
    generator = torch.Generator().manual_seed(seed)
    content = torch.rand(1, 3, size[1], size[0], generator=generator)
    return content.to(device), torch.rand(1, 3, style_side, style_side, generator=generator).to(device)


# ---------------------------------------------------------------------- seconds a picture


def compare(options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Return the median seconds of every method at every size."""
    models = {name: build(recipe).to(device).eval() for name, recipe in recipes().items()}
    meter, rows = Meter(device, 0), []
    for size in SIZES:
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for number in range(options.rounds + 1):
            content, style = pictures(size, options.style_side, number, device)
            for name, model in models.items():
                spent = meter.seconds(lambda m=model, c=content, s=style: paint(m, c, s))
                seconds[name] += [spent] if number else []
        rows += [{"method": name, "size": size, "seconds": statistics.median(spent)} for name, spent in seconds.items()]
        print(
            *(f"{size[0]}x{size[1]} {row['method']}: {row['seconds']:.3f} s" for row in rows[-len(models) :]), sep="\n"
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return seconds and ratios to `BASE`, ours and the paper's, in Markdown."""
    heads = [f"{width}x{height}" for width, height in SIZES]
    ours: dict[str, list[float]] = {}
    for row in rows:
        ours.setdefault(row["method"], []).append(row["seconds"])
    lines = [
        f"| method | {' | '.join(f'{head}, s' for head in heads)} | ratio to {BASE} | paper, s | paper, ratio |",
        "|---" * (len(heads) + 4) + "|",
    ]
    for name in dict.fromkeys([*ours, *PAPER]):
        here, there = ours.get(name), PAPER.get(name)
        cells = [f"{value:.3f}" for value in here] if here else ["-"] * len(heads)
        paper = " / ".join(f"{value:.3f}" for value in there) if there else "-"
        lines.append(
            f"| {name} | {' | '.join(cells)} | {_ratios(here, ours.get(BASE))} | {paper} | "
            f"{_ratios(there, PAPER[BASE])} |"
        )
    return "\n".join(lines)


def _ratios(values: Sequence[float] | None, base: Sequence[float] | None) -> str:
    if not values or not base:
        return "-"
    return " / ".join(f"{value / other:.2f}" for value, other in zip(values, base, strict=True))


# ---------------------------------------------------------------------- megapixels


def one(name: str, size: tuple[int, int], options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Paint one picture in this process, and return seconds and the most memory that it had."""
    model = build(recipes(options.weights)[name]).to(device).eval()
    model.tile = options.tile
    content, style = pictures(size, options.style_side, 0, device)
    seconds = Meter(device, 0).seconds(lambda: paint(model, content, style))
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**30
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30
    return {"method": name, "size": size, "seconds": seconds, "gib": peak}


def large(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every size in a process of its own."""
    rows = []
    print("| method | picture | megapixels | s | s a megapixel | GiB |\n|---|---|---|---|---|---|")
    for name in options.methods or tiling():
        for width, height in LARGE[: options.up_to]:
            command = [sys.executable, "-m", "benchmarks.inference", "--one", name, str(width), str(height)]
            command += ["--style-side", str(options.style_side), "--device", options.device]
            command += [] if options.tile is None else ["--tile", str(options.tile)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this file
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            area, spent, gib = width * height / 1e6, rows[-1]["seconds"], rows[-1]["gib"]
            cells = (name, f"{width}x{height}", f"{area:.1f}", f"{spent:.0f}", f"{spent / area:.1f}", f"{gib:.2f}")
            print(f"| {' | '.join(cells)} |", flush=True)
    return rows


# ---------------------------------------------------------------------- seams


def seams(options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Return how far paintings with two sizes of tiles are apart, in levels of 8 bits."""
    rows = []
    kind = torch.float64 if options.double else torch.float32
    for name, model in painters(options):
        model.to(device, kind)
        content, style = (
            picture.to(kind) for picture in pictures((options.seams, options.seams), options.style_side, 0, device)
        )
        painted = []
        for model.tile in options.tiles:
            painted.append(paint(model, content, style))
        away = 255 * (painted[0] - painted[1]).abs().mean((0, 1))
        near = near_borders(options.seams, [tile for tile in options.tiles if tile], device)
        rows.append(
            {
                "method": name,
                "largest": 255 * float((painted[0] - painted[1]).abs().max()),
                "near borders": float(away[near].mean()),
                "elsewhere": float(away[~near].mean()),
            }
        )
        print(", ".join(f"{key} {value:.2g}" if key != "method" else value for key, value in rows[-1].items()))
    return rows


def painters(options: argparse.Namespace) -> Iterator[tuple[str, StyleTransferModule]]:
    """Yield the trained methods that were named, or else every one of random weights."""
    for path in options.checkpoint or ():
        yield path, load_model(Path(path), "cpu").eval()
    if not options.checkpoint:
        for name in options.methods or tiling():
            yield name, build(recipes()[name]).eval()


def near_borders(side: int, tiles: Sequence[int], device: torch.device, width: int = 4) -> Tensor:
    """Return which pixels of a square picture are within ``width`` of a border between tiles, ``(side, side)``."""
    places = torch.arange(side, device=device)
    near = torch.zeros(side, dtype=torch.bool, device=device)
    for tile in tiles:
        distance = (places + width) % tile
        near |= (distance < 2 * width) & (places >= width) & (places < (side - 1) // tile * tile + width)
    return near[:, None] | near[None]


def tiling() -> list[str]:
    """Return the methods that paint large pictures in tiles."""
    return [name for name, recipe in recipes().items() if class_of(recipe).tiles]


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", action="store_true", help="memory and seconds of large pictures")
    parser.add_argument("--seams", type=int, metavar="SIDE", help="how far two sizes of tiles are apart")
    parser.add_argument("--tiles", type=int, nargs=2, default=(0, 512), help="of --seams: the two sizes")
    parser.add_argument("--checkpoint", nargs="+", help="of --seams: trained painters, instead of random weights")
    parser.add_argument("--double", action="store_true", help="of --seams: in double precision")
    parser.add_argument("--methods", nargs="*", help="of --megapixels and --seams (default: all that paint in tiles)")
    parser.add_argument("--up-to", type=int, default=len(LARGE), help="of --megapixels: only so many sizes")
    parser.add_argument("--tile", type=int, help="of --megapixels: as of `impasto stylize`")
    parser.add_argument("--style-side", type=int, help="of the style picture (default: 512, with --megapixels 1024)")
    parser.add_argument("--weights", default="random", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help="after one that does not count")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "WIDTH", "HEIGHT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.style_side = options.style_side or (1024 if options.megapixels else 512)
    device = torch.device(options.device)
    torch.manual_seed(0)
    if options.one:
        name, width, height = options.one
        print(json.dumps(one(name, (int(width), int(height)), options, device)))
        return
    if options.seams:
        rows = seams(options, device)
    else:
        rows = large(options) if options.megapixels else compare(options, device)
    if not options.megapixels and not options.seams:
        print(table(rows))
    if options.out:
        write_json({"rows": rows, "settings": {**vars(options), "threads": torch.get_num_threads()}}, options.out)


if __name__ == "__main__":
    main()
