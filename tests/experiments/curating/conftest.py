import hashlib
import io
import json
import tarfile
from argparse import ArgumentParser

import numpy as np
import pytest
import torch
import yaml
from PIL import Image


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def picture(number, side=40):
    """Noise where the number is even, a ramp where it is odd."""
    noise = np.random.default_rng(number)
    if number % 2 == 0:
        return noise.integers(0, 255, (side, side, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, side)[:, None, None] * noise.uniform(0.5, 1, 3)
    return np.array(np.broadcast_to(ramp, (side, side, 3)).astype(np.uint8))


def add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def write_shard(path, numbers, *, broken=(), small=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            key = f"{number:09d}"
            data = encoded(picture(number, 12 if number in small else 40))
            data = data[: len(data) // 2] if number in broken else data
            record = {"key": key, "url": f"http://x/{number}", "sha256": hashlib.sha256(data).hexdigest()}
            add(archive, f"{key}.png", data)
            add(archive, f"{key}.json", json.dumps(record).encode())
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A predictor with random weights, as `impasto fit` leaves one behind."""
    from lightning_modules.classifiers.stylistic import StylisticPrediction

    settings = {
        "content": "vgg", "style": "vgg", "weights": "embedded", "side": 32, "hidden": [8],
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
    }  # fmt: skip
    recipe = {"class_path": "lightning_modules.classifiers.stylistic.StylisticPrediction", "init_args": settings}
    torch.manual_seed(0)
    module = StylisticPrediction(torch.optim.AdamW, weights="embedded", side=32, hidden=(8,))
    pictures = torch.stack([torch.from_numpy(picture(number, 32)).permute(2, 0, 1) / 255 for number in range(24)])
    module.head.norm.momentum = 1.0
    module.head(module.look(pictures))
    logits = module.head.eval()(module.look(pictures)).detach()
    module.calibrate(float(logits.std()), -float(logits.median() / logits.std()))  # half of them are stylistic
    saved = {"state_dict": module.state_dict()}
    module.recipe = yaml.safe_dump(recipe)
    module.on_save_checkpoint(saved)
    path = tmp_path_factory.mktemp("predictor") / "last.ckpt"
    torch.save(saved, path)
    return path


@pytest.fixture
def archive(tmp_path):
    """Three shards of eight pictures; one is cut in half, one too small."""
    for shard in range(3):
        numbers = range(8 * shard, 8 * shard + 8)
        write_shard(tmp_path / "archive" / f"{shard:05d}.tar", numbers, broken=(5,), small=(10,))
    return tmp_path / "archive"


@pytest.fixture
def make_shard():
    """Return the function that writes one."""
    return write_shard


@pytest.fixture
def curate(archive, checkpoint, tmp_path):
    """Return a function that runs `impasto curate` in this process and returns its folder."""
    from experiments.commands import curate as command

    def run(*options, out="out", shards=archive):
        parser = ArgumentParser()
        command.add_arguments(parser)
        common = ["--shards", str(shards), "--checkpoint", str(checkpoint), "--out", str(tmp_path / out)]
        usual = {"--keep": "stylistic", "--min-side": "20", "--executor": "loop", "--device": "cpu", "--workers": "2"}
        rest = [word for name, value in usual.items() if name not in options for word in (name, value)]
        command.main(parser.parse_args([*common, *rest, *map(str, options)]))
        return tmp_path / out

    return run
