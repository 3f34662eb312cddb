import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from datamodules.colours import Depth, to_srgb
from datamodules.images import ImageReadError, read_image, read_pixels
from datamodules.notes import note

ROMM = np.array([[0.79767, 0.28804, 0.0], [0.13519, 0.71188, 0.0], [0.03134, 0.00009, 0.82491]])  # rows: R, G, B
SRGB = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])


@pytest.fixture(autouse=True)
def forget_notes():
    note.cache_clear()


@pytest.fixture
def picture():
    """Smooth waves, 40x60."""
    ys, xs = np.mgrid[0:40, 0:60]
    waves = [np.sin(xs / 9), np.cos(ys / 8), np.sin((xs + ys) / 11)]
    return Image.fromarray(np.stack([wave * 90 + 128 for wave in waves], -1).astype(np.uint8))


def profile(gamma, primaries=ROMM, space=b"RGB "):
    """An ICC profile, version 2: primaries in XYZ under D50, or none for grey, and one exponent."""

    def fixed(values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)
    white = fixed((0.9642, 1.0, 0.8249))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white, b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for colour, row in zip("rgb", primaries, strict=True):
            tags |= {f"{colour}XYZ".encode(): b"XYZ \0\0\0\0" + fixed(row), f"{colour}TRC".encode(): curve}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI", 128 + len(table) + len(body), bytes(4), 0x02100000) + b"mntr" + space + b"XYZ "
    return (
        (head + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + body
    )


def encoded(linear):
    """The sRGB function from light to values."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def expected(pixels, gamma, primaries=ROMM):
    """Colours of a matrix profile in sRGB, float64, ``(3, H, W)``."""
    light = (np.asarray(pixels) / 255) ** (round(gamma * 256) / 256)
    return encoded(light @ primaries @ np.linalg.inv(SRGB)).transpose(2, 0, 1)


def difference(path, wanted):
    return float((read_image(path) - torch.tensor(np.broadcast_to(wanted, (3, *np.shape(wanted)[-2:])))).abs().max())


# ---------------------------------------------------------------------- profiles


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_a_wide_gamut_is_brought_to_srgb(tmp_path, picture, gamma):
    picture.save(tmp_path / "a.png", icc_profile=profile(gamma))
    assert difference(tmp_path / "a.png", expected(picture, gamma)) < 1.6 / 255
    assert difference(tmp_path / "a.png", np.asarray(picture).transpose(2, 0, 1) / 255) > 0.1


def test_linear_grey_is_brought_to_srgb_in_every_depth(tmp_path, picture):
    grey = picture.convert("L")
    linear = profile(1.0, space=b"GRAY")
    wanted = encoded(np.asarray(grey) / 255)
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    for name, image in (("8.png", grey), ("16.png", deep), ("16.tif", deep), ("alpha.png", grey.convert("LA"))):
        image.save(tmp_path / name, icc_profile=linear)
        assert difference(tmp_path / name, wanted) < 1.6 / 255


def test_grey_pictures_take_a_profile_of_colours(tmp_path, picture):
    grey = picture.convert("L")
    grey.save(tmp_path / "a.png", icc_profile=profile(1.0))
    assert difference(tmp_path / "a.png", expected(grey.convert("RGB"), 1.0)) < 1.6 / 255


def test_palettes_and_transparent_pictures_have_profiles_too(tmp_path, picture):
    clear = picture.convert("RGBA")
    clear.putalpha(128)
    clear.save(tmp_path / "clear.png", icc_profile=profile(1.8))
    over_white = expected(picture, 1.8) * 128 / 255 + 127 / 255
    assert difference(tmp_path / "clear.png", over_white) < 2.6 / 255
    indexed = picture.quantize(64)
    indexed.save(tmp_path / "indexed.png", icc_profile=profile(1.8))
    assert difference(tmp_path / "indexed.png", expected(indexed.convert("RGB"), 1.8)) < 1.6 / 255


def test_a_profile_of_srgb_changes_nothing(tmp_path, picture):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "a.png", icc_profile=own)
    assert np.array_equal(read_pixels(tmp_path / "a.png"), np.asarray(picture))


def test_a_jpeg_that_is_decoded_small_has_the_same_colours(tmp_path, picture):
    large = picture.resize((960, 640))
    large.save(tmp_path / "a.jpg", quality=95, icc_profile=profile(1.8))
    whole = Image.fromarray(read_pixels(tmp_path / "a.jpg")).resize((240, 160), Image.Resampling.BOX)
    small = read_pixels(tmp_path / "a.jpg", short_side=100)
    assert small.shape == (160, 240, 3)
    assert np.abs(small.astype(int) - np.asarray(whole)).mean() < 1


def broken_profiles():
    whole = profile(1.8)
    return {"noise": b"no profile" * 20, "cut": whole[:200], "of grey": profile(1.0, space=b"GRAY"), "empty table": (
        whole[:128] + bytes(4) + whole[132:]
    )}  # fmt: skip


@pytest.mark.parametrize("kind", broken_profiles())
def test_a_profile_that_cannot_be_used_is_said_once_and_the_picture_is_read(tmp_path, picture, caplog, kind):
    picture.save(tmp_path / "a.png", icc_profile=broken_profiles()[kind])
    for _ in range(2):
        assert np.array_equal(read_pixels(tmp_path / "a.png"), np.asarray(picture))
    assert len(caplog.messages) == 1
    assert "a.png has a colour profile that cannot be used" in caplog.text


# ---------------------------------------------------------------------- modes and depths


def test_cie_lab_is_read(tmp_path, picture):
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    ImageCms.applyTransform(picture, to_lab).save(tmp_path / "a.tif")
    read = read_pixels(tmp_path / "a.tif").astype(int)
    assert np.abs(read - np.asarray(picture)).mean() < 1.5  # 8 bits of Lab are coarse


def test_other_ways_to_write_a_colour_are_read(picture):
    for mode in ("HSV", "YCbCr", "RGBX", "CMYK"):
        converted = np.asarray(to_srgb(picture.convert(mode), Depth(), None), np.float32)
        assert np.abs(converted - np.asarray(picture)).mean() < 2


@pytest.mark.parametrize(("mode", "multiplied"), [("RGBA", "RGBa"), ("LA", "La")])
def test_colours_that_were_multiplied_by_their_opacity_are_divided_again(picture, mode, multiplied):
    clear = picture.convert(mode)
    clear.putalpha(128)
    images = (clear, clear.convert(multiplied))
    straight, divided = (np.asarray(to_srgb(image, Depth(), None), int) for image in images)
    assert np.abs(straight - divided).max() <= 2


def test_a_named_grey_is_transparent_in_16_bits(tmp_path):
    Image.fromarray(np.array([[1000, 40000]], np.uint16)).save(tmp_path / "a.png", transparency=1000)
    assert read_pixels(tmp_path / "a.png")[0, :, 0].tolist() == [255, round(40000 / 257)]


def write_tiff(path, numbers, bits, sense=1, kind=1):
    """A grey TIFF of one row, written by hand; numbers of 12 bits are packed."""
    if bits == 12:
        text = "".join(f"{number:012b}" for number in numbers)
        data = int(text, 2).to_bytes(len(text) // 8, "big")
    else:
        data = np.array(numbers, {16: "<u2", 32: "<u4"}[bits]).tobytes()
    tags = {256: len(numbers), 257: 1, 258: bits, 259: 1, 262: sense, 273: 8, 277: 1, 278: 1, 279: len(data), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


@pytest.mark.parametrize(
    ("numbers", "bits", "sense", "wanted"),
    [
        ([0, 4095, 2048, 819], 12, 1, [0, 255, 128, 51]),
        ([0, 65535, 32768, 257], 16, 1, [0, 255, 128, 1]),
        ([0, 65535, 32768, 257], 16, 0, [255, 0, 127, 254]),
    ],
)
def test_depth_and_sense_of_a_tiff_are_its_own(tmp_path, numbers, bits, sense, wanted):
    write_tiff(tmp_path / "a.tif", numbers, bits, sense)
    assert read_pixels(tmp_path / "a.tif")[0, :, 0].tolist() == wanted


def test_grey_of_16_bits_in_portable_maps(tmp_path):
    Image.fromarray(np.array([[0, 65535, 32768]], np.int32)).save(tmp_path / "a.pgm")
    assert read_pixels(tmp_path / "a.pgm")[0, :, 0].tolist() == [0, 255, 128]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.0, 200.0], "values from 0 to 200, and nothing says which of them is white"),
        ([-1.0, 0.5], "values from -1 to 0.5"),
        ([0.5, np.nan], "no numbers"),
        ([0.5, np.inf], "no numbers"),
    ],
)
def test_floats_that_have_no_white_are_refused(tmp_path, values, words):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageReadError, match=words) as caught:
        read_image(tmp_path / "a.tif")
    assert "a.tif holds" in str(caught.value)


@pytest.mark.parametrize(("bits", "kind"), [(32, 1), (32, 2), (16, 2)])
def test_whole_numbers_that_have_no_white_are_refused(tmp_path, bits, kind):
    write_tiff(tmp_path / "a.tif", [1, 2], bits, kind=kind)
    with pytest.raises(ImageReadError, match="nothing says which of them is white"):
        read_image(tmp_path / "a.tif")
