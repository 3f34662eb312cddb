import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from skimage.color import rgb2lab
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from metrics.functional import chamfer
from metrics.functional.chamfer import color_chamfer


def noise(seed, height=9, width=7):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def few(seed, height=9, width=7):
    """Four colours, many times each."""
    palette = torch.rand(4, 3, generator=torch.Generator().manual_seed(seed))
    index = torch.randint(4, (height, width), generator=torch.Generator().manual_seed(seed + 1))
    return palette[index].permute(2, 0, 1)[None]


PICTURES = {
    "noise": noise(0),
    "another size": noise(1, 5, 12),
    "few colours": few(2),
    "grey": noise(3)[:, :1].expand(-1, 3, -1, -1),
    "black": torch.zeros(1, 3, 4, 4),
    "white": torch.ones(1, 3, 4, 4),
    "one pixel": noise(4, 1, 1),
}
PAIRS = list(itertools.combinations(PICTURES, 2))


def lab(rgb):
    """CIE 1976 from sRGB under D65, written out."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def expected(a, b, squared=True, direction="sum", space="rgb", quantize=True):
    """Every pixel against every pixel, in float64."""
    clouds = []
    for image in (a, b):
        pixels = image[0].flatten(1).T.double().numpy()
        pixels = np.round(pixels * 255) / 255 if quantize else pixels
        clouds.append({"rgb": lambda p: p * 255, "rgb_unit": lambda p: p, "lab": lab}[space](pixels))
    gaps = ((clouds[0][:, None] - clouds[1][None]) ** 2).sum(2)
    gaps = gaps if squared else np.sqrt(gaps)
    there, back = gaps.min(1).mean(), gaps.min(0).mean()
    return {
        "sum": there + back,
        "half": (there + back) / 2,
        "preds_to_target": there,
        "target_to_preds": back,
    }[direction]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("search", ["tree", "matmul"])
def test_every_pixel_against_every_pixel(first, second, search):
    a, b = PICTURES[first], PICTURES[second]
    np.testing.assert_allclose(float(color_chamfer(a, b, search=search)), expected(a, b), rtol=1e-13)


@pytest.mark.parametrize("direction", ["sum", "half", "preds_to_target", "target_to_preds"])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("space", ["rgb", "rgb_unit", "lab"])
@pytest.mark.parametrize("quantize", [True, False])
def test_every_convention(direction, squared, space, quantize):
    options = {"direction": direction, "squared": squared, "space": space, "quantize": quantize}
    a, b = PICTURES["noise"], PICTURES["another size"]
    tolerance = 1e-5 if space == "lab" else 1e-6 if not quantize else 1e-13
    np.testing.assert_allclose(float(color_chamfer(a, b, **options)), expected(a, b, **options), rtol=tolerance)
    assert float(color_chamfer(a, a, **options)) == 0


def test_lab_is_that_of_scikit_image():
    colours = noise(5)[0].flatten(1).T.double().numpy()
    np.testing.assert_allclose(lab(colours), rgb2lab(colours[None])[0], atol=5e-3)


def test_order_repetition_and_search_change_no_bit():
    a, b = noise(0, 24, 24), noise(1, 31, 17)
    shuffled = a.flatten(2)[..., torch.randperm(24 * 24, generator=torch.Generator().manual_seed(0))].view_as(a)
    value = color_chamfer(a, b)
    assert torch.equal(value, color_chamfer(shuffled, b))
    assert torch.equal(value, color_chamfer(a.repeat(1, 1, 2, 3), b))
    assert torch.equal(value, color_chamfer(a, b, search="matmul"))
    assert torch.equal(value, color_chamfer(b, a))
    assert float(color_chamfer(a, shuffled)) == float(color_chamfer(a, a.repeat(1, 1, 1, 2))) == 0


def test_chunks_and_autocast_change_no_bit(monkeypatch):
    a, b = noise(0, 24, 24), noise(1, 31, 17)
    value = color_chamfer(a, b)
    monkeypatch.setattr(chamfer, "CHUNK_BYTES", 7 * 4 * 527)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(value, color_chamfer(a, b, search="matmul"))


def test_batches_are_pairs():
    a, b = torch.cat([noise(0), noise(1)]), torch.cat([few(0), few(1)])
    joined = color_chamfer(a, b)
    assert torch.equal(joined, torch.cat([color_chamfer(a[i : i + 1], b[i : i + 1]) for i in range(2)]))
    assert color_chamfer(a[:0], b[:0]).shape == (0,)


def test_rounding_is_that_of_a_saved_picture():
    a, b = torch.full((1, 3, 1, 1), 99.6 / 255), torch.full((1, 3, 1, 1), 100.4 / 255)
    assert float(color_chamfer(a, b)) == 0
    assert float(color_chamfer(a, b, quantize=False)) > 1


def test_what_is_refused():
    with pytest.raises(ImpastoError, match="1 stylized pictures and 2 styles"):
        color_chamfer(noise(0), torch.cat([noise(0), noise(1)]))
    for bad, words in (
        (noise(0) * 255, r"lie in \[0, 1\]"),
        (noise(0) * torch.nan, "nan"),
        (noise(0)[0], "B, 3, H, W"),
    ):
        with pytest.raises(ImpastoError, match=words):
            color_chamfer(bad, noise(1) if bad.ndim == 4 else noise(1)[0])
        with pytest.raises(ImpastoError, match=words):
            color_chamfer(noise(1) if bad.ndim == 4 else noise(1)[0], bad)
    assert torch.equal(color_chamfer((noise(0) * 255).round().byte(), noise(1)), color_chamfer(noise(0), noise(1)))
    for options in ({"space": "lab"}, {"quantize": False}):
        with pytest.raises(ImpastoError, match="8-bit RGB"):
            color_chamfer(noise(0), noise(1), search="matmul", **options)


def photograph(array):
    image = torch.from_numpy(array.copy()).permute(2, 0, 1)[None] / 255
    return F.interpolate(image, size=(512, 512), mode="bicubic", antialias=True).clamp(0, 1)


def peak_bytes():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux tells the peak of memory")
def test_two_photographs_of_512_pixels_take_under_2_cpu_seconds_and_a_gigabyte():
    a, b = photograph(data.astronaut()), photograph(data.coffee())
    color_chamfer(a[..., :2, :2], b)  # imports scipy
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, start = peak_bytes(), time.process_time()
    value = float(color_chamfer(a, b))
    seconds, taken = time.process_time() - start, peak_bytes() - before
    assert value == pytest.approx(143.731689453125, rel=1e-5)  # 6e-7 apart between sets of instructions
    assert seconds < 2  # measured 0.5
    assert taken < 2**28  # measured 0.03 GiB
