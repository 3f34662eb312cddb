"""Each front end against the tool's own arithmetic, written out in float64 or done by PIL."""

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_modules.errors import ImpastoError
from metrics.extractors.front_ends import SIDE, describe, prepare

SIZES = [(64, 48), (299, 299), (410, 333)]


def levels(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3))


def prepared(pixels, front_end):
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return prepare(images, front_end)[0].permute(1, 2, 0).double().numpy()


def by_pil(pixels, kind):
    planes = [Image.fromarray(pixels[..., c].astype(np.float32), mode="F") for c in range(3)]
    return np.stack([np.asarray(plane.resize((SIDE, SIDE), kind)) for plane in planes], -1).astype(np.float64)


def by_positions(pixels, offset):
    """Bilinear without antialiasing, pixel ``i`` reading position ``(i + offset) * scale - offset``."""
    x = pixels.astype(np.float64)
    for axis in (0, 1):
        length = x.shape[axis]
        position = np.clip((np.arange(SIDE) + offset) * length / SIDE - offset, 0, None)
        low = np.minimum(np.floor(position).astype(int), length - 1)
        high = np.minimum(low + 1, length - 1)
        share = np.expand_dims(position - low, (1, 2) if axis == 0 else (0, 2))
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


@pytest.mark.parametrize("size", SIZES)
def test_every_front_end_is_its_tools(size):
    pixels = levels(*size)
    expected = {
        "clean": (np.clip(by_pil(pixels, Image.Resampling.BICUBIC), 0, 255) - 128) / 128,
        "pytorch-fid": by_positions(pixels, 0.5) / 255 * 2 - 1,
        "torch-fidelity": (by_positions(pixels, 0) - 128) / 128,
        "torchmetrics": (by_pil(pixels, Image.Resampling.BILINEAR) - 128) / 128,
        "native": pixels / 255 * 2 - 1,
        "unit": pixels / 255,
    }
    for front_end, values in expected.items():
        assert np.abs(prepared(pixels, front_end) - values).max() < 1e-4, front_end


def test_front_ends_differ():
    pixels = levels(480, 640)
    found = [prepared(pixels, name) for name in ("clean", "pytorch-fid", "torch-fidelity", "torchmetrics")]
    assert min(np.abs(a - b).mean() for i, a in enumerate(found) for b in found[:i]) > 0.01


@pytest.mark.parametrize("front_end", ["clean", "native", "unit", "torch-fidelity"])
def test_pictures_are_rounded_as_a_file_would_be(front_end):
    pixels = levels(64, 48)
    exact = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    noise = (torch.rand(exact.shape, generator=torch.Generator().manual_seed(0)) - 0.5) * (0.9 / 255)
    assert torch.equal(prepare((exact + noise).clamp(0, 1), front_end), prepare(exact, front_end))


def test_unknown_front_end():
    with pytest.raises(ImpastoError, match=r"no front end 'tf'.*clean"):
        prepare(torch.zeros(1, 3, 8, 8), "tf")
    assert "bicubic" in describe("clean")
