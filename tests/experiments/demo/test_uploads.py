import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from experiments.demo.uploads import Limits, read_photograph, read_region
from lightning_modules.errors import ImpastoError

LIMITS = Limits(megabytes=1, pixels=10_000, side=64)


@pytest.fixture
def upload(tmp_path):
    """A function from pixels to a file that lies where a server puts uploads."""

    def write(pixels, name="upload.png"):
        path = tmp_path / "3f2a" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
        return path

    return write


def bomb(path, width, height):
    """Write a PNG of one colour: kilobytes that unfold to gigabytes."""
    rows = zlib.compress(b"\0" * 1000)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path


def test_a_photograph_is_brought_to_the_side_of_the_page(upload):
    assert read_photograph(upload(np.zeros((30, 50, 3))), "The photograph", LIMITS).shape == (3, 30, 50)
    for size in ((50, 100), (100, 33), (64, 64), (99, 101)):
        picture = read_photograph(upload(np.full((*size, 3), 128)), "The photograph", LIMITS)
        assert max(picture.shape) == 64 or max(size) <= 64
        assert min(picture.shape[1:]) == pytest.approx(min(size) * 64 / max(64, *size), abs=1)
        assert float(picture.mean()) == pytest.approx(128 / 255, abs=1e-3)


@pytest.mark.parametrize(("width", "height"), [(101, 100), (30_000, 30_000)])
def test_a_picture_that_would_unfold_is_refused_before_it_is_decoded(tmp_path, width, height):
    path = bomb(tmp_path / "small.png", width, height)
    with pytest.raises(ImpastoError, match=r"The photograph has .* pixels, .*: shrink it\.$") as caught:
        read_photograph(path, "The photograph", LIMITS)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ImpastoError, match="The mask has"):
        read_region(path, "The mask", LIMITS)


def test_a_file_that_is_too_large_is_not_opened(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(b"\0" * (2**20 + 1))
    with pytest.raises(ImpastoError, match="The photograph has 1 MB, more than the 1 that this page takes"):
        read_photograph(path, "The photograph", LIMITS)


@pytest.mark.parametrize("content", [b"<script>alert(1)</script>", b"\x89PNG\r\n\x1a\n broken", b""])
def test_what_is_no_picture_is_one_sentence_without_a_path(tmp_path, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(ImpastoError, match=r"^The style picture ") as caught:
        read_photograph(path, "The style picture", LIMITS)
    assert str(tmp_path) not in str(caught.value)
    assert str(caught.value).count(".") == 1


def test_a_truncated_picture_is_refused(upload):
    path = upload(np.random.default_rng(0).integers(0, 255, (60, 60, 3)))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ImpastoError, match="The photograph is damaged or truncated"):
        read_photograph(path, "The photograph", LIMITS)


def test_a_mask_is_opacity_or_brightness(upload):
    grey = np.zeros((20, 30, 3))
    grey[:, :15] = 255
    assert read_region(upload(grey), "The mask", LIMITS)[0, 0, ::14].tolist() == [1.0, 1.0, 0.0]
    clear = np.dstack([np.zeros((20, 30, 3)), grey[..., :1]])
    assert read_region(upload(clear), "The mask", LIMITS)[0, 0, ::14].tolist() == [1.0, 1.0, 0.0]
