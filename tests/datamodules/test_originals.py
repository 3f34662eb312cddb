import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from datamodules.images import read_image
from datamodules.originals import Original, encode_png, read_original, write_over
from lightning_modules.errors import ImpastoError

NOISE = np.random.default_rng(0)
SIZE = (12, 20)


def mask_of_the_left():
    mask = torch.zeros(1, *SIZE)
    mask[..., :8] = 0.5
    mask[..., :6] = 1
    return mask


def numbers(channels, kind=np.uint8):
    return NOISE.integers(0, np.iinfo(kind).max + 1, (*SIZE, channels)).astype(kind)


def paint(source, target, colour=(0.25, 0.5, 0.75)):
    painted = read_image(source)
    painted[..., :8] = torch.tensor(colour)[:, None, None]
    write_over(painted, mask_of_the_left(), source, target)
    return read_original(target)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_png_of_any_depth_is_written_and_read_back(tmp_path, channels, kind):
    values = numbers(channels, kind)
    (tmp_path / "a.png").write_bytes(encode_png(Original(values)))
    back = read_original(tmp_path / "a.png")
    assert back.numbers.dtype == kind
    assert np.array_equal(back.numbers, values)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.mode == ("RGBA" if channels == 4 else "RGB")


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_number_outside_the_mask_is_kept(tmp_path, channels, kind):
    values = numbers(channels, kind)
    if channels == 4:
        values[:, :, 3] |= np.iinfo(kind).max // 2 + 1  # half opaque at least
        values[:, :4, 3] = np.iinfo(kind).max
    (tmp_path / "a.png").write_bytes(encode_png(Original(values)))
    back = paint(tmp_path / "a.png", tmp_path / "b.png").numbers
    assert back.dtype == kind
    assert np.array_equal(back[:, 8:], values[:, 8:])
    assert np.array_equal(back[..., 3:], values[..., 3:])  # the opacity everywhere
    top = np.iinfo(kind).max
    assert np.allclose(back[:, :4, :3] / top, (0.25, 0.5, 0.75), atol=1 / 255)


def test_over_white_a_transparent_picture_shows_what_was_painted(tmp_path):
    values = numbers(4)
    values[..., 3] = 200
    Image.fromarray(values).save(tmp_path / "a.png")
    paint(tmp_path / "a.png", tmp_path / "b.png", (0.5, 0.6, 0.9))
    seen = read_image(tmp_path / "b.png")[..., :8]
    assert (seen - torch.tensor((0.5, 0.6, 0.9))[:, None, None]).abs().max() < 0.01


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_grey_picture_gets_colours_inside_alone(tmp_path, kind):
    grey = numbers(1, kind)[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    back = paint(tmp_path / "a.png", tmp_path / "b.png").numbers
    assert back.dtype == kind
    assert np.array_equal(back[:, 8:], np.stack([grey] * 3, -1)[:, 8:])
    assert (back[:, :6, 0] != back[:, :6, 2]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_a_turned_picture_is_turned_as_the_reader_does(tmp_path, orientation, deep):
    values = numbers(3, np.uint16 if deep else np.uint8)
    path = tmp_path / "a.png"
    if deep:
        exif = Image.Exif()
        exif[274] = orientation
        data = encode_png(Original(values))
        body = exif.tobytes()[6:]  # without the mark of JPEG
        chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
        path.write_bytes(data[:33] + chunk + data[33:])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(values).save(path, exif=exif)
    found = read_original(path).numbers
    seen = read_image(path).permute(1, 2, 0).numpy()
    assert found.shape == seen.shape
    assert np.abs(found / np.iinfo(found.dtype).max - seen).max() < 1 / 200


def test_a_profile_stays_and_the_painting_is_converted_to_it(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Its tags of red and blue change places: numbers are BGR then.
    swapped = profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    values = numbers(3)
    Image.fromarray(values).save(tmp_path / "a.png", icc_profile=swapped)
    back = paint(tmp_path / "a.png", tmp_path / "b.png")
    assert back.profile == swapped
    assert np.array_equal(back.numbers[:, 8:], values[:, 8:])
    assert np.abs(back.numbers[:, :6].astype(int) - (191, 128, 64)).max() <= 2
    seen = read_image(tmp_path / "b.png")[..., :6]
    assert (seen - torch.tensor((0.25, 0.5, 0.75))[:, None, None]).abs().max() < 0.01


def test_a_palette_with_transparency_is_kept(tmp_path):
    image = Image.fromarray(numbers(3)).quantize(8)
    image.save(tmp_path / "a.png", transparency=3)
    before = read_original(tmp_path / "a.png").numbers
    after = paint(tmp_path / "a.png", tmp_path / "b.png").numbers
    assert after.shape[2] == 4
    assert np.array_equal(after[:, 8:], before[:, 8:])


def test_a_jpeg_keeps_its_decoded_pixels_in_a_png(tmp_path):
    Image.fromarray(numbers(3)).save(tmp_path / "a.jpg")
    back = paint(tmp_path / "a.jpg", tmp_path / "b.png").numbers
    assert np.array_equal(back[:, 8:], np.asarray(Image.open(tmp_path / "a.jpg"))[:, 8:])


def test_other_kinds_and_sizes_are_written_as_ever(tmp_path):
    Image.fromarray(numbers(4)).convert("CMYK").save(tmp_path / "a.tif")
    paint(tmp_path / "a.tif", tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").mode == "RGB"
    Image.fromarray(numbers(4)).save(tmp_path / "c.png")
    write_over(torch.rand(3, 6, 10), torch.ones(1, 6, 10), tmp_path / "c.png", tmp_path / "d.png")
    assert Image.open(tmp_path / "d.png").size == (10, 6)
    paint(tmp_path / "c.png", tmp_path / "e.jpg")
    assert Image.open(tmp_path / "e.jpg").format == "JPEG"


def test_a_place_that_cannot_be_written(tmp_path):
    Image.fromarray(numbers(4)).save(tmp_path / "c.png")
    (tmp_path / "file").touch()
    with pytest.raises(ImpastoError, match=r"Cannot write .*: choose another place"):
        paint(tmp_path / "c.png", tmp_path / "file/d.png")
