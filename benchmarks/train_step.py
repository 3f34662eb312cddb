"""Time one training step of a method, full-size networks, against its authors' data flow in plain layers.

OMP_NUM_THREADS=1 python -m benchmarks.train_step --method contraast --batch 4 --pairs 5

Both steps use equal modules, weights and pictures, and differ in what they compute how often; forward, the steps of all
optimisers and the losses are in the time. Pairs of a literal and a fast step alternate, so that whatever else the
machine does hits both alike: the ratio is the median of the pairs' ratios. The first call of each, whose memory is
measured (the optimisers' state included, and NeAT's gradient penalty, due in one of 16 steps), does not count in time.
On a CPU the time is that of all threads. The losses of the two are printed too: they are the same.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.contenders import contraast, neat
from benchmarks.contenders.internal_external import Losses
from benchmarks.meter import Meter
from benchmarks.results import write_json
from lightning_modules.contraast import ContraAST
from lightning_modules.internal_external.training import InternalExternal
from lightning_modules.neat import NeAT
from lightning_modules.types import StyleBatch

Run = Callable[[StyleBatch], Losses]
ADAM = torch.optim.Adam


def a_contraast() -> ContraAST:
    """Build the paper's."""
    return ContraAST(ADAM, ADAM, weights="random")


def a_neat() -> NeAT:
    """Build the paper's."""
    return NeAT(ADAM, ADAM, patch_optimizer=ADAM, weights="random")


METHODS = {"contraast": (a_contraast, contraast), "neat": (a_neat, neat)}


def contenders(method: str, device: torch.device) -> dict[str, Run]:
    """Return the literal and the fast step of a method, on equal weights."""
    build, steps = METHODS[method]

    def anew() -> InternalExternal:
        torch.manual_seed(0)
        return build().to(device)

    return {"literal": steps.Literal(anew()), "fast": steps.Fast(anew())}


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="contraast")
    parser.add_argument("--batch", type=int, default=4, help="stylised pictures, b")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of steps, after one that does not count")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the fast step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    device, half = torch.device(options.device), options.batch // 2
    torch.backends.cudnn.benchmark = True  # as the public code has it
    generator = torch.Generator().manual_seed(options.seed)
    content, style, *crops = (
        torch.rand(half, 3, options.size, options.size, generator=generator).to(device) for _ in range(4)
    )
    numbers = torch.arange(half)
    batch = StyleBatch(content, style, numbers, [""] * half, numbers, views=torch.stack(crops, 1))
    steps = contenders(options.method, device)
    half_precision = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bfloat16")
    steps["fast"] = half_precision(steps["fast"])

    meter = Meter(device, 0)
    losses: dict[str, Losses] = {}
    mib = {name: meter.first(lambda s=step, n=name: losses.update({n: s(batch)}))[1] for name, step in steps.items()}
    for term, value in losses["literal"].items():
        print(f"{term:<20} literal {value:12.6g}   fast {losses['fast'][term]:12.6g}", flush=True)
    rows = []
    for number in range(1, options.pairs + 1):
        rows.append({name: meter.seconds(lambda step=step: step(batch)) for name, step in steps.items()})
        slow, quick = rows[-1].values()
        print(f"pair {number}: literal {slow:8.3f} s   fast {quick:8.3f} s   {slow / quick:.2f}x", flush=True)
    ratio = statistics.median(row["literal"] / row["fast"] for row in rows)
    print(f"{options.method}, b {options.batch}, {options.size} px, {device}, {options.precision}: {ratio:.2f}x")
    print(f"memory: literal {mib['literal']:.0f} MiB, fast {mib['fast']:.0f} MiB")
    if options.out:
        write_json({"pairs": rows, "ratio": ratio, "mib": mib, "settings": vars(options)}, options.out)


if __name__ == "__main__":
    main()
