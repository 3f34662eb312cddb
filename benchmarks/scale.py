"""Count what a training costs, and what a cluster makes of it: FLOPs and operations of a step, and arithmetic on them.

python -m benchmarks.scale                       # the tables of docs/scale.md
python -m benchmarks.scale --achieved 0.2        # with another share of the peak

The step of every full profile runs once, at its own size and batch, on PyTorch's meta device, where shapes are computed
and no values: its FLOPs (forward, backward and what the losses look through; products, convolutions and attention) and
its operations are counted, not estimated. The rest is arithmetic on `Assumed`: seconds of a step are those of its
FLOPs, or those that the host takes to launch its operations, whichever is more, and of the reduction of its gradients.
What reading and storing a picture takes of a processor is measured here.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import lightning_modules  # noqa: F401  (installs the torchvision shim)

# isort: split
import torch
import yaml
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import nsync_step
from benchmarks.full_profiles import full_profiles, make_pictures, stand_in
from benchmarks.results import write_json
from benchmarks.without_values import META, Ones, train
from datamodules.pictures import PictureStore
from experiments.training import main as build
from lightning_modules.internal_external.training import InternalExternal
from lightning_modules.networks.dinov2 import DINOv2

GPUS = (1, 8, 32)
BBST = 4_200_000
"""Pictures: 2.2 million from Behance, 2.0 million from Flickr (NeAT, section 4)."""


@dataclass(frozen=True)
class Assumed:
    """What is not counted.

    Attributes:
        peak: FLOPs a second of an A100 in bfloat16 (its data sheet).
        achieved: Share of the peak that a step reaches.
        launch: Seconds in which the host launches one operation.
        link: Bytes a second between the GPUs of a node, of one GPU (NVLink 3, its data sheet).
        network: Bytes a second between nodes, of one GPU (200 Gbit/s a node of eight).
        per_node: GPUs of a node.
        alive: Share of URLs that still give a picture.
        megabytes: Of a picture as it is downloaded.
        stored: Megabytes of a picture as it is kept, 1024 pixels on the short side.
        downlink: Bytes a second of the downloading machine.
        cores: Of the downloading machine.
        price: Of an hour of an A100, in dollars.
    """

    peak: float = 312e12
    achieved: float = 0.25
    launch: float = 8e-6
    link: float = 300e9
    network: float = 3.1e9
    per_node: int = 8
    alive: float = 0.8
    megabytes: float = 2.0
    stored: float = 0.5
    downlink: float = 1.25e8
    cores: int = 16
    price: float = 2.0


class Step(NamedTuple):
    """One training step of an experiment at its full profile's batch.

    Attributes:
        method: The experiment.
        batch: ``data.batch_size``.
        most: GPUs that can share a batch.
        tflop: Of a step, all GPUs together.
        operations: Of a step, on each GPU.
        trained: Million weights that are trained.
        steps: ``trainer.max_steps``.
    """

    method: str
    batch: int
    most: int
    tflop: float
    operations: int
    trained: float
    steps: int


# ---------------------------------------------------------------------- counting


def learners() -> list[str]:
    """Return the experiments that learn from pictures by artists; others take minutes, or are counted below."""
    found = {name: stand_in(name, Path())["data"]["init_args"] for name, kind in full_profiles().items() if kind.trains}
    return [name for name, settings in found.items() if "artists_per_batch" in settings]


def count(method: str, folder: Path) -> Step:
    """Count a step of an experiment that learns from pictures.

    Args:
        method: With a full profile.
        folder: Where made-up pictures go.
    """
    profile = stand_in(method, folder)
    make_pictures(folder, side=512, artists=profile["data"]["init_args"]["artists_per_batch"], works=2)
    path = folder / f"{method}.yaml"
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    plain = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--wandb", "disabled"]
    cli = build(["fit", "--config", str(path), *plain], run=False)
    counter = Counter()
    step = cli.model.training_step

    def counted(batch: Any, batch_idx: int) -> None:
        # Of the second: what a fit prepares once is no step, and the first has what is due in few steps only.
        with counter if batch_idx == 1 else nullcontext():
            step(batch, batch_idx)

    with mock.patch.object(cli.model, "training_step", counted):
        train(cli.model, cli.datamodule, Ones(), steps=2)
    trained = sum(weight.numel() for weight in cli.model.parameters() if weight.requires_grad)
    most, batch = most_gpus(cli.model, cli.datamodule), cli.datamodule.batch_size
    return Step(method, batch, most, counter.tflop, counter.operations, trained / 1e6, cli.trainer.max_steps)


class Counter:
    """Counts what runs inside.

    Attributes:
        tflop: So far.
        operations: So far.
    """

    def __init__(self) -> None:
        self._flops, self._ones = FlopCounterMode(display=False), Ones()

    def __enter__(self) -> None:
        self._flops.__enter__()
        self._ones.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._ones.__exit__(*error)
        self._flops.__exit__(*error)

    @property
    def tflop(self) -> float:
        """Products, convolutions and attention, forward and backward."""
        return self._flops.get_total_flops() / 1e12

    @property
    def operations(self) -> int:
        """Calls of PyTorch's operators."""
        return self._ones.operations


def most_gpus(model: Any, data: Any) -> int:
    """Return among how many GPUs a batch can be shared, each with whole pictures, or two where it contrasts them."""
    least = 2 if isinstance(model, InternalExternal) else 1
    artists, batch = data.artists_per_batch, data.batch_size
    return max(n for n in range(1, batch // least + 1) if batch % n == 0 and (artists % n == 0 or n % artists == 0))


def count_nsync() -> Step:
    """Count NSYNC's step on Stable Diffusion 1.5: six pictures of 512 x 512 in one pass, UNet twice forward."""
    settings = yaml.safe_load((Path(nsync_step.__file__).parents[1] / "experiments/nsync/full.yaml").read_text())
    batch = settings["data"]["init_args"]["batch_size"]
    with META:
        parts = nsync_step.full_size()
    unet, text = parts.unet.requires_grad_(False).train(), parts.text_encoder.requires_grad_(False)
    unet.enable_gradient_checkpointing()
    words = text.get_input_embeddings().weight.requires_grad_()

    counter = Counter()
    with counter:
        ids = torch.zeros(3 * batch, 77, dtype=torch.long, device=META)
        latents = torch.zeros(3 * batch, 4, 64, 64, device=META)
        noise = unet(latents, torch.zeros(3 * batch, device=META), text(ids).last_hidden_state).sample
        noise.square().mean().backward()
    steps = settings["trainer"]["max_steps"]
    return Step("nsync", batch, batch, counter.tflop, counter.operations, words.shape[1] / 1e6, steps)


def count_judge() -> float:
    """Return the TFLOP of a picture in the stylistic predictor's content branch, DINOv2's ViT-S at 224 pixels."""
    network, counter = DINOv2().to(META), Counter()
    with counter, torch.no_grad():
        network(torch.zeros(1, 3, 224, 224, device=META), [11])
    return counter.tflop


# ---------------------------------------------------------------------- measuring


def milliseconds(run: Callable[[], Any], repeats: int = 9) -> float:
    """Return the least processor time of a call; a busy machine makes it longer, never shorter."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    return 1000 * min(spent)


def measure_pictures(folder: Path) -> dict[str, float]:
    """Return what a picture takes of one processor, in milliseconds: to train on it, and to store it in an archive."""
    from skimage import data

    photograph, found = Image.fromarray(data.astronaut()), {}
    for width, height in ((640, 480), (1536, 1024)):
        path = folder / f"{width}x{height}.jpg"
        photograph.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=90)
        found[f"read {width}x{height} to short side 512"] = milliseconds(
            lambda p=path: PictureStore([p], short_side=512).get(0)
        )  # type: ignore[misc]
    found["read 1536x1024, shrink to short side 1024, write"] = milliseconds(
        lambda: _archived(folder / "1536x1024.jpg", folder)
    )
    return found


def _archived(path: Path, folder: Path) -> None:
    with Image.open(path) as picture:
        picture.convert("RGB").resize((1536, 1024), Image.Resampling.BICUBIC).save(folder / "stored.jpg", quality=95)


# ---------------------------------------------------------------------- arithmetic


class Cost(NamedTuple):
    """What a training takes on some GPUs: how many of them it can use, seconds of a step, and what these wait for."""

    used: int
    seconds: float
    bound: str


def cost(step: Step, gpus: int, assumed: Assumed) -> Cost:
    """Return what a step takes where its batch is shared by as many of the GPUs as it can be."""
    used = max(n for n in range(1, min(gpus, step.most) + 1) if step.batch % n == 0)
    share = step.tflop * 1e12 / used / (assumed.peak * assumed.achieved)
    host = step.operations * assumed.launch
    speed = assumed.link if used <= assumed.per_node else assumed.network
    reduction = 2 * (used - 1) / used * step.trained * 4e6 / speed
    bound = max({"FLOPs": share, "launches": host, "network": reduction}.items(), key=lambda item: item[1])[0]
    return Cost(used, max(share, host) + reduction, bound)


def training_table(steps: Sequence[Step], assumed: Assumed) -> str:
    """Return hours of every training on 1, 8 and 32 GPUs in Markdown."""
    heads = [f"{n} GPU{'s' * (n > 1)}: hours (used, bound)" for n in GPUS]
    lines = [
        "| training | batch | TFLOP a step | operations a step | million weights | steps | " + " | ".join(heads) + " |"
    ]
    lines.append("|---" * (6 + len(GPUS)) + "|")
    for step in steps:
        cells = [step.method, step.batch, f"{step.tflop:.1f}", step.operations, f"{step.trained:.2f}", step.steps]
        for gpus in GPUS:
            found = cost(step, gpus, assumed)
            cells.append(f"{found.seconds * step.steps / 3600:.1f} ({found.used}, {found.bound})")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def money_table(steps: Sequence[Step], assumed: Assumed) -> str:
    """Return dollars, and the pictures that one GPU asks for, in Markdown."""
    lines = ["| training | dollars on 1 GPU | pictures a second that it reads |", "|---|---|---|"]
    for step in steps:
        found = cost(step, 1, assumed)
        dollars = found.seconds * step.steps / 3600 * assumed.price
        lines.append(f"| {step.method} | {dollars:.0f} | {2 * step.batch / found.seconds:.0f} |")
    return "\n".join(lines)


def bbst_table(judge: float, pictures: dict[str, float], assumed: Assumed) -> str:
    """Return what preparing BBST-4M takes, in Markdown."""
    alive, size = BBST * assumed.alive, assumed.megabytes * 1e6
    store = next(spent for name, spent in pictures.items() if "write" in name)
    read = next(spent for name, spent in pictures.items() if name.startswith("read 1536x1024 to"))
    rows = {
        "pictures that are left": f"{alive / 1e6:.2f} million",
        "download": f"{alive * size / 1e12:.1f} TB, {alive * size / assumed.downlink / 3600:.0f} h",
        f"shrink and store, {assumed.cores} cores": f"{alive * store / 3.6e6 / assumed.cores:.1f} h",
        "archive": f"{alive * assumed.stored / 1e6:.2f} TB",
        "training shards, beside it": f"{alive * assumed.stored / 1e6:.2f} TB",
        f"curation, read on {assumed.cores} cores": f"{alive * read / 3.6e6 / assumed.cores:.1f} h",
        "curation, content branch on 1 GPU": f"{alive * judge * 1e12 / (assumed.peak * assumed.achieved) / 3600:.2f} h",
    }
    return "\n".join(["| step | takes |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def main() -> None:
    """Count, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", help="of those that learn (default: all)")
    parser.add_argument("--out", type=Path, help="write the results as JSON too")
    for each in fields(Assumed):
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=type(each.default), default=each.default)
    options = parser.parse_args()
    assumed = Assumed(**{each.name: getattr(options, each.name) for each in fields(Assumed)})
    with tempfile.TemporaryDirectory() as folder:
        steps = [
            count(name, Path(folder) / name) for name in learners() if not options.methods or name in options.methods
        ]
        steps += [count_nsync()] if not options.methods or "nsync" in options.methods else []
        pictures = measure_pictures(Path(folder))
    judge = count_judge()
    print(training_table(steps, assumed), money_table(steps, assumed), sep="\n\n")
    print(
        "\n| picture | ms of one processor |\n|---|---|", *(f"| {n} | {v:.1f} |" for n, v in pictures.items()), sep="\n"
    )
    print(f"\nDINOv2 ViT-S, 224 pixels: {1000 * judge:.1f} GFLOP a picture\n\n{bbst_table(judge, pictures, assumed)}")
    if options.out:
        counted_steps = [step._asdict() for step in steps]
        write_json(
            {"assumed": asdict(assumed), "steps": counted_steps, "pictures": pictures, "judge": judge}, options.out
        )


if __name__ == "__main__":
    main()
