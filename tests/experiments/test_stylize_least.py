"""`impasto stylize --method least`: pictures of every kind, and long ones."""

import numpy as np
import pytest
from PIL import Image

from datamodules.originals import Original, encode_png, read_original
from experiments.cli import FOLDER, execute

CONFIGS = [word for name in ("tiny", "smoke") for word in ("--config", str(FOLDER / "least" / f"{name}.yaml"))]
SIZE = (40, 56)
BOX = np.s_[10:30, 14:42]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stylize(*arguments):
    box = ["--box", "0.25,0.25,0.75,0.75", "--grounder", "box", "--device", "cpu", "--prompt", "Ada Stipple"]
    return execute(["stylize", *CONFIGS, *box, *arguments])


def test_all_kinds_of_pictures_keep_their_numbers_outside_the_box(place):
    noise = np.random.default_rng(0)
    values = {
        "deep": noise.integers(0, 65536, (*SIZE, 3)).astype(np.uint16),
        "clear": noise.integers(0, 256, (*SIZE, 4)).astype(np.uint8),
        "grey": noise.integers(0, 256, (*SIZE, 1)).astype(np.uint8),
        "turned": noise.integers(0, 256, (*SIZE, 3)).astype(np.uint8),
    }
    (place / "in").mkdir()
    (place / "in/deep.png").write_bytes(encode_png(Original(values["deep"])))
    Image.fromarray(values["clear"]).save("in/clear.png")
    Image.fromarray(values["grey"][..., 0]).save("in/grey.png")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(values["turned"]).transpose(Image.Transpose.ROTATE_90).save("in/turned.png", exif=exif)
    assert stylize("--content", "in", "--out", "out") == 0
    outside = np.ones(SIZE, bool)
    outside[BOX] = False
    for kind, before in values.items():
        after = read_original(place / "out" / f"{kind}.png").numbers
        assert after.dtype == before.dtype
        before = np.broadcast_to(before, after.shape)
        assert np.array_equal(after[outside], before[outside]), kind
        seen = before[..., 3] > 0 if kind == "clear" else np.ones(SIZE, bool)
        assert (after[BOX] != before[BOX]).any(-1)[seen[BOX]].mean() > 0.9, kind


def test_a_picture_of_ten_thousand_pixels_is_painted_at_its_size(place):
    values = np.random.default_rng(0).integers(0, 256, (24, 10_000, 3)).astype(np.uint8)
    Image.fromarray(values).save("long.png")
    assert stylize("--content", "long.png", "--out", "o.png") == 0
    painted = np.asarray(Image.open("o.png"))
    assert painted.shape == values.shape
    inside = np.s_[6:18, 2500:7500]
    assert (painted[inside] != values[inside]).any(-1).mean() > 0.9
    values[inside] = painted[inside]
    assert np.array_equal(painted, values)
