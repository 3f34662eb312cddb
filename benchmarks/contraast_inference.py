"""Time one painting of ContraAST, full-size networks, against its authors' data flow in plain layers.

OMP_NUM_THREADS=1 python -m benchmarks.contraast_inference --size 256 --rounds 5

Three calls alternate: the plain layers, `stylize` with a style that it has not met, and `stylize` with the style of the
call before, as in a clip or a folder. The first round does not count. On a CPU the time is that of all threads.
"""

import argparse
import statistics
from pathlib import Path

import torch

from benchmarks.contenders.contraast import PlainGenerator
from benchmarks.meter import Meter
from benchmarks.results import write_json
from lightning_modules.contraast import ContraAST


def main() -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of both pictures in pixels, a multiple of 16")
    parser.add_argument("--rounds", type=int, default=5, help="after one that does not count")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.manual_seed(0)
    adam = torch.optim.Adam
    model = ContraAST(adam, adam, weights="random").to(device).eval()
    plain, meter = PlainGenerator(model), Meter(device, 0)
    content = torch.rand(1, 3, options.size, options.size, device=device)
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format

    rows = []
    for number in range(options.rounds + 1):
        style = torch.rand(1, 3, options.size, options.size, device=device)
        images = [picture.contiguous(memory_format=layout) for picture in (content, style)]
        with torch.no_grad():
            literal = meter.seconds(lambda images=images: plain(*images))
        new, kept = (meter.seconds(lambda style=style: model.stylize(content, style=style)) for _ in range(2))
        if number:
            rows.append({"literal": literal, "new": new, "kept": kept})
            print(
                f"round {number}: literal {literal:7.3f} s   new style {new:7.3f} s   kept style {kept:7.3f} s",
                flush=True,
            )
    ratios = {name: statistics.median(row["literal"] / row[name] for row in rows) for name in ("new", "kept")}
    print(f"{options.size} px, {device}: new style {ratios['new']:.2f}x, kept style {ratios['kept']:.2f}x")
    if options.out:
        write_json({"rounds": rows, "ratios": ratios, "settings": vars(options)}, options.out)


if __name__ == "__main__":
    main()
