"""Time the bilateral filter of NeAT's content prior, and its memory, against OpenCV's and an unfold of the square.

python -m benchmarks.content_prior --sizes 96x96 512x512 1920x1080 --out prior.json

Sizes are width x height; a picture of at most 128 px a side is measured as a batch of six, as in a training step. The
time is CPU time over all threads (on a GPU, synchronised wall time), memory what a call takes on top of its inputs, the
result included. OpenCV filters floats, as ours does, and is left out where it is not installed (it is an extra, `dev`)
and on a GPU. The unfold keeps 3 x 625 numbers for every pixel: it filters what fits the budget given, marked ~.
"""

import argparse
import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.meter import Meter
from benchmarks.results import write_json
from lightning_modules.neat.filters import bilateral_filter

RADIUS, SIGMA_COLOR, SIGMA_SPACE = 12, 100 / 255, 100.0
SIDE = 2 * RADIUS + 1
Filter = Callable[[Tensor], Tensor]


def photograph(width: int, height: int, device: torch.device) -> Tensor:
    """Return a photograph that comes with scikit-image, resized; six times where it is small."""
    from skimage import data

    image = torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1)[None] / 255
    image = F.interpolate(image, size=(height, width), mode="bicubic", antialias=True).clamp(0, 1).to(device)
    return image.repeat(6, 1, 1, 1) if max(width, height) <= 128 else image


def ours(images: Tensor) -> Tensor:
    """Filter as the content prior does."""
    return bilateral_filter(images, RADIUS, SIGMA_COLOR, SIGMA_SPACE)


def unfolded(images: Tensor) -> Tensor:
    """Filter by unfolding all 625 places of the square and weighing those of the disc."""
    batch, channels, height, width = images.shape
    places = F.unfold(F.pad(images, (RADIUS,) * 4, mode="reflect"), SIDE).view(batch, channels, SIDE**2, -1)
    steps = torch.arange(-RADIUS, RADIUS + 1, device=images.device)
    squares = (steps[:, None] ** 2 + steps**2).flatten()
    space = torch.exp(-squares / (2 * SIGMA_SPACE**2)) * (squares <= RADIUS**2)
    gaps = (places - images.flatten(2).unsqueeze(2)).abs().sum(1)
    weights = torch.exp(-gaps.square() / (2 * SIGMA_COLOR**2)) * space[:, None]
    means = (weights.unsqueeze(1) * places).sum(2) / weights.sum(1, keepdim=True)
    return means.view(batch, channels, height, width)


def find_opencv() -> Filter | None:
    """Return OpenCV's filter, or None if the package is absent."""
    try:
        cv2 = import_module("cv2")
    except ImportError:
        return None
    cv2.setNumThreads(torch.get_num_threads())

    def run(images: Tensor) -> Tensor:
        pictures = (image.permute(1, 2, 0).contiguous().numpy() for image in images)
        filtered = [cv2.bilateralFilter(picture, SIDE, SIGMA_COLOR, SIGMA_SPACE) for picture in pictures]
        return torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in filtered])

    return run


def measure(name: str, run: Filter, images: Tensor, expected: Tensor, meter: Meter) -> dict[str, Any]:
    """Return seconds and MiB per megapixel, and the largest difference to ``expected`` in levels of 255."""
    found: list[Tensor] = []
    seconds, memory = meter.first(lambda: found.append(run(images)))
    off = float((found.pop() - expected).abs().max()) * 255
    seconds = meter.best(lambda: run(images), seconds)
    pixels = images.shape[0] * images.shape[2] * images.shape[3] / 1e6
    return {"filter": name, "seconds": seconds / pixels, "mib": memory / pixels, "off": off, "megapixels": pixels}


def compare(size: str, budget: float, meter: Meter) -> list[dict[str, Any]]:
    """Measure all filters on pictures of one size, print a line for each, return the rows."""
    width, height = map(int, size.split("x"))
    images = photograph(width, height, meter.device)
    expected = ours(images)
    rows = [measure("ours", ours, images, expected, meter)]
    opencv = find_opencv() if meter.device.type == "cpu" else None
    if opencv:
        rows.append(measure("OpenCV", opencv, images, expected, meter))
    # Whole pictures, then whole rows; the border of the part differs, and with it the result near its end.
    most = int(budget * 2**30 / (4 * (2 * 3 + 2) * SIDE**2 * width))
    part = images[: max(1, most // height), :, : min(height, max(RADIUS + 1, most))]
    rows.append(measure("unfold", unfolded, part, ours(part), meter))
    for row in rows:
        mark = "~" if row["filter"] == "unfold" and part.shape != images.shape else " "
        row |= {"size": size, "times_ours": row["seconds"] / rows[0]["seconds"], "extrapolated": mark == "~"}
        print(
            f"{size:>10} {row['megapixels']:>7.3f}  {row['filter']:<8}{mark}{row['seconds']:>9.3f}"
            f"{row['times_ours']:>8.2f}x{row['mib']:>10.0f}{row['off']:>10.4f}",
            flush=True,
        )
    return rows


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["96x96", "512x512", "1920x1080"], help="width x height")
    parser.add_argument("--budget", type=float, default=0.25, help="GiB that the unfold may take")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write the JSON file."""
    options = parse()
    meter = Meter(torch.device(options.device), options.repeats)
    unit = "CPU s" if meter.device.type == "cpu" else "s"
    print(f"{'size':>10} {'Mpx':>7}  {'filter':<8} {unit + '/Mpx':>9}{'of ours':>9}{'MiB/Mpx':>10}{'off /255':>10}")
    rows = [row for size in options.sizes for row in compare(size, options.budget, meter)]
    if options.out:
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        settings |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
        plain = [{key: None if value is math.nan else value for key, value in row.items()} for row in rows]
        write_json({"settings": settings, "results": plain}, options.out)


if __name__ == "__main__":
    main()
