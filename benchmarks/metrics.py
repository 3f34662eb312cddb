"""Time the metrics, and measure their peak of memory, against public implementations and the naive formula.

python -m benchmarks.metrics --sizes 256 512 1920x1080 --out metrics.json

Metrics of features are measured on features, without the network: on maps of the shapes that VGG-19 and Inception-v3
give, and on rows of 2048 (FID, KID) or 768 (CMMD, CSD) numbers. Those whose cost is the network run with the embedded
one. The time is CPU time over all threads, the best of the repeats (on a GPU, synchronised wall time); memory is what a
call takes on top of its inputs. A contender that takes too long runs on a part of its work, marked ~, and is scaled up.
The last table says what the colour Chamfer distance takes for every pixel that a picture has more.
"""

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import metrics  # noqa: F401  (installs the torchvision shim before torchmetrics imports torchvision)
from benchmarks.contenders.pictures import PIXEL_CASES
from benchmarks.contenders.sets import Contender, set_cases
from benchmarks.meter import Meter
from benchmarks.results import write_json
from metrics.functional.chamfer import color_chamfer


def photographs(height: int, width: int, device: torch.device) -> list[Tensor]:
    """Return two photographs that come with scikit-image, resized."""
    from skimage import data

    images = (
        torch.from_numpy(array.copy()).permute(2, 0, 1)[None] / 255 for array in (data.astronaut(), data.coffee())
    )
    resize = partial(F.interpolate, size=(height, width), mode="bicubic", antialias=True)
    return [resize(image).clamp(0, 1).to(device) for image in images]


def compare(metric: str, size: str, contenders: list[Contender], meter: Meter) -> list[dict[str, Any]]:
    """Measure all contenders for one metric, print a line for each, return the rows."""
    rows: list[dict[str, Any]] = []
    for name, run, share in contenders:
        found: list[float] = []
        seconds, memory = meter.first(lambda call=run, kept=found: kept.append(float(call())))  # type: ignore[misc]
        seconds = meter.best(run, seconds) / share
        value = found[0] if share == 1 else math.nan
        row = {"metric": metric, "size": size, "contender": name, "ms": 1000 * seconds, "per_second": 1 / seconds}
        row |= {"mib": memory, "value": value, "extrapolated": share != 1}
        rows.append(row)
        ours = rows[0]
        off = math.nan if share != 1 else abs(value - ours["value"]) / max(1e-12, abs(ours["value"]))
        row |= {"times_ours": row["ms"] / ours["ms"], "off": off}
        mark = "~" if share != 1 else " "
        print(
            f"{metric:<22}{size:>10}  {name:<32}{mark}{row['ms']:>11.1f}{row['per_second']:>10.2f}{memory:>9.0f}"
            f"{row['times_ours']:>9.2f}x{off:>10.1e}",
            flush=True,
        )
    return rows


def growth(sides: list[int], meter: Meter) -> list[dict[str, Any]]:
    """Measure what the colour Chamfer distance takes for every pixel more, print a table, return its rows."""
    print(f"\n{'chamfer':<14}{'pixels':>10}{'colours':>10}{'ms':>10}{'ns / added pixel':>18}{'over log2 n':>13}")
    rows: list[dict[str, Any]] = []
    for kind in ("photographs", "noise"):
        before = (0, 0.0)
        for side in sides:
            a, b = photographs(side, side, meter.device)
            if kind == "noise":
                a, b = torch.rand_like(a), torch.rand_like(b)
            colours = len((a * 255).round().flatten(2)[0].T.unique(dim=0))
            run = partial(color_chamfer, a, b)
            count, seconds = side * side, meter.best(run, meter.seconds(run))
            added = 1e9 * (seconds - before[1]) / (count - before[0])
            before = (count, seconds)
            row = {"kind": kind, "pixels": count, "colours": colours, "ms": 1000 * seconds, "ns_per_added_pixel": added}
            rows.append(row | {"over_log2": added / math.log2(count)})
            cells = f"{1000 * seconds:>10.1f}{added:>18.0f}{added / math.log2(count):>13.1f}"
            print(f"{kind:<14}{count:>10}{colours:>10}{cells}", flush=True)
    return rows


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["256", "512", "1920x1080"], help="side, or width x height")
    parser.add_argument("--rows", type=int, default=200, help="feature rows on either side of a set metric")
    parser.add_argument(
        "--growth", type=int, nargs="*", default=[64, 128, 256, 512, 1024], help="sides of the last table"
    )
    parser.add_argument("--only", nargs="+", help="measure these metrics alone")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    return parser.parse_args()


def main() -> None:
    """Measure, print tables, write the JSON file."""
    options = parse()
    torch.manual_seed(options.seed)
    meter = Meter(torch.device(options.device), options.repeats)
    unit = "CPU ms" if meter.device.type == "cpu" else "ms"
    print(
        f"{'metric':<22}{'size':>10}  {'contender':<32} {unit:>11}{'a second':>10}{'MiB':>9}{'of ours':>10}{'off':>10}"
    )
    rows = []
    for size in options.sizes:
        width, height = (int(side) for side in (size.split("x") if "x" in size else (size, size)))
        for name, build in PIXEL_CASES.items():
            if not options.only or name in options.only:
                rows += compare(name, size, build(*photographs(height, width, meter.device)), meter)
    for name, contenders in set_cases(options.rows, meter.device):
        if not options.only or name in options.only:
            rows += compare(name, f"{options.rows} rows", contenders, meter)
    added = growth(options.growth, meter) if options.growth else []
    if options.out:
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        settings |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
        plain = [{key: None if value is math.nan else value for key, value in row.items()} for row in rows]
        write_json({"settings": settings, "results": plain, "chamfer_growth": added}, options.out)


if __name__ == "__main__":
    main()
