"""Measure how many training pictures a second come from a folder, from Parquet files and from shards.

OMP_NUM_THREADS=1 python -m benchmarks.data --pictures 600 --workers 0 1 2 4

The same JPEGs lie in a folder, in a Parquet file (row groups of 100, as the hub has them) and in shards, and each is
read by a data module of ours: contents and styles, cut to ``--size`` after a resize to ``--resize``. torchvision's
ImageFolder under a plain DataLoader does the same with one picture a sample, by v2's Resize, RandomCrop and ToImage. A
picture is one that was read, decoded and cut. Contenders alternate, round by round, and medians are compared: the
machine may do other things. Files are read from the system's memory, unless it has less than they take.

The last table is a method's training step, full-size networks, on two contents and styles a step from the shards: how
much of it goes by while it waits for data.
"""

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler

import metrics  # noqa: F401  (installs the torchvision shim before torchvision is imported)
from benchmarks.results import write_json
from benchmarks.train_step import METHODS
from datamodules.parquet import Parquet
from datamodules.shard_files import arrow
from datamodules.shard_writing import write_shards
from datamodules.shards import Shards
from datamodules.sources import ContentSource, ImageFolder, StyleSource, WikiArt
from datamodules.style_transfer import StyleTransferDataModule
from lightning_modules.types import StyleBatch

BATCH = 8
STEP = {"batch_size": 2, "artists_per_batch": 2, "style_views": 2}  # as train_step's smallest
Stream = Callable[[int], Iterator[int]]


def photographs(count: int, side: int, seed: int) -> list[bytes]:
    """Return JPEGs of pieces of photographs that come with scikit-image, enlarged to a short side."""
    from skimage import data

    sources = [Image.fromarray(picture) for picture in (data.astronaut(), data.coffee(), data.chelsea())]
    rng = np.random.default_rng(seed)
    files = []
    for number in range(count):
        source = sources[number % len(sources)]
        width = int(rng.integers(150, min(source.size)))
        left, top = (int(rng.integers(extent - width + 1)) for extent in source.size)
        piece = source.crop((left, top, left + width, top + width))
        with io.BytesIO() as file:
            piece.resize((side * 4 // 3, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
            files.append(file.getvalue())
    return files


def write_folder(pictures: list[bytes], root: Path) -> Path:
    """Write pictures by ten artists, ``<root>/<artist>/<number>.jpg``."""
    for number, picture in enumerate(pictures):
        path = root / f"artist-{number % 10}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    return root


def write_parquet(pictures: list[bytes], root: Path) -> Path:
    """Write the same as the hub lays data sets out."""
    pa = arrow()
    root.mkdir()
    rows = [{"bytes": picture, "path": f"{number:06d}.jpg"} for number, picture in enumerate(pictures)]
    artists = [f"artist-{number % 10}" for number in range(len(pictures))]
    table = pa.table({"image": rows, "artist": artists})
    pa.parquet.write_table(table, root / "train-00000-of-00001.parquet", row_group_size=100)
    return root


def write_training_shards(pictures: list[bytes], root: Path) -> Path:
    """Write the same as training shards, by way of an archive."""
    archive = root / "archive"
    archive.mkdir(parents=True)
    with tarfile.open(archive / "00000.tar", "w") as tar:
        for number, picture in enumerate(pictures):
            info = tarfile.TarInfo(f"{number:09d}.jpg")
            info.size = len(picture)
            tar.addfile(info, io.BytesIO(picture))
    return write_shards(archive, root / "shards", chunk_bytes=8 * 2**20)


def ours(content: ContentSource, style: StyleSource, options: argparse.Namespace) -> Stream:
    """Return the pictures of a data module: contents, styles, and the second painting where it is another one."""
    own = isinstance(style, Shards)

    def stream(workers: int) -> Iterator[int]:
        module = module_of(content, style, options, workers=workers)
        for batch in module.train_dataloader():
            yield len(batch.content) * (2 if own else 3)

    return stream


def module_of(content: ContentSource, style: StyleSource, options: argparse.Namespace, **changes: Any) -> Any:
    """Return a data module that is ready to train."""
    cutting = {"size": options.size, "resize": options.resize, "flip": False}
    sizes = {"batch_size": BATCH, "artists_per_batch": BATCH, "batches_per_epoch": 10**6}
    module = StyleTransferDataModule(content, style, **(cutting | sizes | changes))
    module.setup("fit")
    return module


def torchvision_folder(root: Path, options: argparse.Namespace) -> Stream:
    """Return the pictures of torchvision's ImageFolder under a plain DataLoader."""
    from torchvision.datasets import ImageFolder as Plain
    from torchvision.transforms import v2

    steps = [v2.Resize(options.resize), v2.RandomCrop(options.size), v2.ToImage()]
    dataset = Plain(str(root), v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)]))

    def stream(workers: int) -> Iterator[int]:
        # One epoch without end, as ours are: else workers would start anew in the middle of what is measured.
        order = RandomSampler(dataset, num_samples=10**6)
        yield from (len(batch) for batch, _ in DataLoader(dataset, 2 * BATCH, sampler=order, num_workers=workers))

    return stream


def speed(stream: Stream, workers: int, count: int) -> float:
    """Return pictures a second of some batches in the middle, before which workers have read as far ahead as after."""
    batches = stream(workers)
    for _ in range(1 + 2 * workers):
        next(batches)
    start = time.perf_counter()
    pictures = sum(islice(batches, count))
    return pictures / (time.perf_counter() - start)


def throughput(contenders: dict[str, Stream], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all contenders with every number of workers, print a table, return its rows."""
    first = next(iter(contenders))
    print(f"{'contender':<22}{'workers':>8}{'pictures/s':>12}{'of its 0 workers':>18}{f'of {first}':>24}")
    rows: list[dict[str, Any]] = []
    for workers in options.workers:
        rounds = [
            {name: speed(stream, workers, options.batches) for name, stream in contenders.items()}
            for _ in range(options.rounds)
        ]
        for name in contenders:
            rate = statistics.median(one[name] for one in rounds)
            ratio = statistics.median(one[name] / one[first] for one in rounds)
            alone = next((row["per_second"] for row in rows if row["contender"] == name), rate)
            rows.append({"contender": name, "workers": workers, "per_second": rate, "of_first": ratio})
            print(f"{name:<22}{workers:>8}{rate:>12.1f}{rate / alone:>17.2f}x{ratio:>23.2f}x", flush=True)
    return rows


def waiting(shards: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the share of a training step that waits for data, print a table, return its rows."""
    build, steps = METHODS[options.method]
    step = steps.Fast(build().to(options.device))
    module = module_of(Shards(shards), Shards(shards), options, workers=0, **STEP)
    step(on(next(iter(module.train_dataloader())), options.device))
    print(f"\n{'workers':>8}{'step, s':>10}{'waiting':>10}")
    rows = []
    for workers in options.workers:
        module = module_of(Shards(shards), Shards(shards), options, workers=workers, **STEP)
        batches = iter(module.train_dataloader())
        next(batches)
        waited, start = 0.0, time.perf_counter()
        for _ in range(options.steps):
            asked = time.perf_counter()
            batch = on(next(batches), options.device)
            waited += time.perf_counter() - asked
            step(batch)
            if options.device != "cpu":
                torch.cuda.synchronize()
        total = time.perf_counter() - start
        rows.append({"workers": workers, "step": total / options.steps, "waiting": waited / total})
        print(f"{workers:>8}{total / options.steps:>10.3f}{waited / total:>9.1%}", flush=True)
    return rows


def on(batch: StyleBatch, device: str) -> StyleBatch:
    """Return a batch on a device."""
    return StyleBatch(*(value.to(device) if isinstance(value, torch.Tensor) else value for value in batch))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=600, help="in the data set")
    parser.add_argument("--side", type=int, default=1024, help="short side of the stored pictures in pixels")
    parser.add_argument("--resize", type=int, default=512, help="short side before the crop in pixels")
    parser.add_argument("--size", type=int, default=256, help="side of the crops in pixels")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--batches", type=int, default=20, help="of 8 contents and 8 styles, in a round")
    parser.add_argument("--rounds", type=int, default=3, help="of all contenders, one after the other")
    parser.add_argument("--method", choices=METHODS, default="contraast", help="of the last table")
    parser.add_argument("--steps", type=int, default=8, help="training steps of the last table; 0 leaves it out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    return parser.parse_args()


def main() -> None:
    """Measure, print tables, write the JSON file."""
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        pictures = photographs(options.pictures, options.side, options.seed)
        print(f"{len(pictures)} JPEGs of {sum(map(len, pictures)) / len(pictures) / 1024:.0f} KiB, {options.side} px")
        folder = write_folder(pictures, root / "folder")
        parquet = Parquet(write_parquet(pictures, root / "parquet"))
        shards = write_training_shards(pictures, root)
        contenders = {
            "torchvision": torchvision_folder(folder, options),
            "folder": ours(ImageFolder(folder), WikiArt(folder), options),
            "parquet": ours(parquet, parquet, options),
            "shards": ours(Shards(shards), Shards(shards), options),
        }
        results = {"throughput": throughput(contenders, options)}
        if options.steps:
            results["waiting"] = waiting(shards, options)
    if options.out:
        write_json(results | {"settings": vars(options)}, options.out)


if __name__ == "__main__":
    main()
