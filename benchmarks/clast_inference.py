"""Time CLAST's inference by stage: encoder, fusion (and the scans inside it) and decoder, on the CPU or on a GPU.

python -m benchmarks.clast_inference --size 512 --out clast.json

Five models: the tiny profile with the embedded weights, and the paper's full size with random weights, for either
mixer in one direction and in both. The style code is computed once and cached, as in a stream of pictures; batch 1.
On a CPU the figure is the time of all threads, which other programs disturb less than the clock on the wall does; on
a GPU, synchronised wall time, to be read beside the paper's 0.03 s per 512x512 image.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import torch
import yaml

from benchmarks.results import write_json
from lightning_modules.checkpoints import build
from lightning_modules.clast import CLAST
from lightning_modules.clast.networks import MixerName
from lightning_modules.clast.settings import LossWeights
from lightning_modules.networks import mamba
from lightning_modules.networks.selective_scan import ScanOrder

TINY = Path(__file__).resolve().parents[1] / "experiments" / "clast" / "tiny.yaml"


def models() -> Iterator[tuple[str, CLAST]]:
    """Build the models, one at a time."""
    tiny = build(yaml.safe_load(TINY.read_text())["model"])
    assert isinstance(tiny, CLAST)  # noqa: S101
    yield "tiny, embedded", tiny
    optimizer = partial(torch.optim.AdamW, lr=1e-4)
    orders: tuple[ScanOrder, ...] = ("unidi", "bidi")
    for mixer, scan in product(get_args(MixerName), orders):
        full = CLAST(optimizer, weights="random", mixer=mixer, scan=scan, loss=LossWeights(lpips=0.0))
        yield f"full, {mixer}, {scan}", full


@contextmanager
def timed_scans(clock: Callable[[], float], spent: list[float]) -> Iterator[None]:
    """Add the time inside every scan to ``spent[0]``."""
    originals = {name: getattr(mamba, name) for name in ("ssd_scan", "selective_scan")}

    def wrap(scan: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            start = clock()
            result = scan(*arguments, **options)
            spent[0] += clock() - start
            return result

        return timed

    for name, scan in originals.items():
        setattr(mamba, name, wrap(scan))
    try:
        yield
    finally:
        for name, scan in originals.items():
            setattr(mamba, name, scan)


def make_clock(device: torch.device) -> Callable[[], float]:
    """Return CPU time on a CPU, synchronised wall time elsewhere; in milliseconds."""
    if device.type == "cpu":
        return lambda: 1000 * time.process_time()

    def clock() -> float:
        torch.cuda.synchronize(device)
        return 1000 * time.perf_counter()

    return clock


@torch.no_grad()
def measure(model: CLAST, size: int, repeats: int, device: torch.device) -> dict[str, float]:
    """Return the median milliseconds of each stage of one picture."""
    model = model.to(device).eval()
    content = torch.rand(1, 3, size, size, device=device)
    code = model.text_code(["a painter"])
    clock = make_clock(device)
    rows = []
    for _ in range(repeats + 1):
        spent = [0.0]
        start = clock()
        features = model.content_features(content)
        encoded = clock()
        with timed_scans(clock, spent):
            fused = model.fusion([features[name] for name in ("relu3_1", "relu4_1", "relu5_1")], code)
        mixed = clock()
        model.decoder(fused, code, [features[name] for name in ("relu1_1", "relu2_1") if name in features])
        rows.append((encoded - start, mixed - encoded, spent[0], clock() - mixed))
    names = ("encoder", "fusion", "scans", "decoder")
    medians = {name: statistics.median(column) for name, column in zip(names, zip(*rows[1:], strict=True), strict=True)}
    medians["total"] = medians["encoder"] + medians["fusion"] + medians["decoder"]
    return medians


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the picture in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write the JSON file."""
    options = parse()
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    unit = "CPU ms" if device.type == "cpu" else "ms"
    print(
        f"{'model':<22}{'encoder':>10}{'fusion':>10}{'decoder':>10}{'total':>10} {unit}   scans / (encoder + decoder)"
    )
    results = {}
    for name, model in models():
        times = measure(model, options.size, options.repeats, device)
        share = times["scans"] / (times["encoder"] + times["decoder"])
        results[name] = {**times, "scan_share": share}
        cells = "".join(f"{times[key]:10.0f}" for key in ("encoder", "fusion", "decoder", "total"))
        print(f"{name:<22}{cells} {'':<6}   {share:.1%}", flush=True)
    if options.out:
        settings = {"size": options.size, "device": str(device), "threads": torch.get_num_threads()}
        write_json({"settings": settings, "results": results}, options.out)


if __name__ == "__main__":
    main()
