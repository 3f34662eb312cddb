import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from datamodules import image_formats
from datamodules.image_formats import IMAGE_SUFFIXES
from datamodules.images import ImageReadError, list_images, read_image, read_pixels, write_image
from lightning_modules.errors import ImpastoError

ORIENTATION = 0x0112


@pytest.fixture
def picture():
    """A smooth 40x60 picture whose left edge is red and whose bottom is bright."""
    ys, xs = np.mgrid[0:40, 0:60]
    return Image.fromarray(np.stack([255 - xs * 4, xs * 2, ys * 6], -1).astype(np.uint8))


def test_reads_rgb_exactly(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (3, 40, 60)
    assert image.dtype == torch.float32
    assert torch.equal((image * 255).round().byte(), torch.from_numpy(np.array(picture)).permute(2, 0, 1))


def test_scales_16_bit_png(tmp_path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png")
    assert image.shape == (3, 8, 8)
    assert torch.allclose(image[0], torch.from_numpy(ramp / 65535).float(), atol=1 / 255)


def test_scales_floating_point_tiff(tmp_path):
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "float.tiff")
    assert torch.allclose(read_image(tmp_path / "float.tiff")[1], torch.from_numpy(ramp), atol=1 / 255)


def test_reads_cmyk_jpeg(tmp_path, picture):
    picture.convert("CMYK").save(tmp_path / "press.jpg", quality=95)
    expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    assert (read_image(tmp_path / "press.jpg") - expected).abs().mean() < 0.03


def test_reads_grey(tmp_path, picture):
    picture.convert("L").save(tmp_path / "grey.png")
    image = read_image(tmp_path / "grey.png")
    assert image.shape == (3, 40, 60)
    assert torch.equal(image[0], image[2])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_lays_alpha_over_white(tmp_path, picture, mode):
    translucent = picture.convert(mode)
    translucent.putalpha(Image.new("L", picture.size, 0))
    translucent.save(tmp_path / "clear.png")
    assert torch.equal(read_image(tmp_path / "clear.png"), torch.ones(3, 40, 60))


def test_lays_a_transparent_palette_over_white(tmp_path):
    indexed = Image.fromarray(np.tile(np.array([0, 1], np.uint8), (4, 2)), "P")
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.save(tmp_path / "palette.png", transparency=0)
    image = read_image(tmp_path / "palette.png")
    assert image[:, 0, 0].tolist() == [1, 1, 1]
    assert image[:, 0, 1].tolist() == [0, 0, 1]


def test_applies_exif_rotation(tmp_path, picture):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was held so that the picture must turn 90 degrees clockwise
    picture.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    image = read_image(tmp_path / "phone.jpg")
    assert image.shape == (3, 60, 40)
    assert image[0, 0].mean() > 0.8 > 0.2 > image[0, -1].mean()  # the red left edge is on top now


def test_reads_a_single_pixel(tmp_path):
    Image.new("RGB", (1, 1), (255, 0, 0)).save(tmp_path / "dot.png")
    assert read_image(tmp_path / "dot.png").flatten().tolist() == [1, 0, 0]


def test_takes_the_first_frame_of_a_gif(tmp_path):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "move.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "move.gif")[:, 0, 0].tolist() == [1, 0, 0]


def test_reads_a_picture_under_a_wrong_suffix(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == (3, 40, 60)


def _truncated_jpeg(path: Path) -> None:
    data = io.BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(data, "JPEG")
    path.write_bytes(data.getvalue()[: len(data.getvalue()) // 2])


def _truncated_png(path: Path) -> None:
    data = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(data, "PNG")
    path.write_bytes(data.getvalue()[: len(data.getvalue()) // 2])


BAD = {
    "truncated jpeg": (_truncated_jpeg, "truncated"),
    "truncated png": (_truncated_png, "truncated"),
    "text": (lambda path: path.write_text("not a picture"), "not a picture"),
    "empty": (lambda path: path.touch(), "empty"),
    "missing": (lambda _: None, "does not exist"),
    "folder": (lambda path: path.mkdir(), "folder"),
    "broken symlink": (lambda path: path.symlink_to("nowhere"), "does not exist"),
    "header only": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "picture|damaged"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_end_in_one_sentence(tmp_path, kind):
    path = tmp_path / "bad.jpg"
    make, message = BAD[kind]
    make(path)
    with pytest.raises(ImageReadError, match=message) as caught:
        read_image(path)
    assert "bad.jpg" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_decompression_bombs_are_refused(tmp_path, picture, monkeypatch):
    picture.save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageReadError, match="more than 200 pixels"):
        read_image(tmp_path / "bomb.png")


def test_long_text_beside_the_pixels_is_no_damage(tmp_path, picture, monkeypatch):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("workflow", "x" * 1_100_000, zip=True)
    picture.save(tmp_path / "a.png", pnginfo=notes)
    assert read_image(tmp_path / "a.png").shape == (3, 40, 60)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1_000_000)
    with pytest.raises(ImageReadError, match=r"more than 64 MiB of text .* save it again without its metadata"):
        read_image(tmp_path / "a.png")


OTHERS = {
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pillow-heif"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "pillow-jxl-plugin"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_needs_a_package_is_named(tmp_path, monkeypatch, kind):
    head, package = OTHERS[kind]
    (tmp_path / "a.jpg").write_bytes(head + bytes(200))
    monkeypatch.setitem(sys.modules, image_formats._EXTRAS[kind].module, None)
    with pytest.raises(ImageReadError, match=f"a.jpg is {kind}, which needs a package: pip install '{package}'"):
        read_image(tmp_path / "a.jpg")


def test_a_package_that_is_there_is_asked(tmp_path, picture, monkeypatch):
    class Plugin:
        @staticmethod
        def register_heif_opener():
            opened = picture.copy()
            monkeypatch.setattr(Image, "open", lambda _: opened)

    (tmp_path / "a.heic").write_bytes(OTHERS["HEIC"][0] + bytes(200))
    monkeypatch.setitem(sys.modules, "pillow_heif", Plugin)
    assert read_image(tmp_path / "a.heic").shape == (3, 40, 60)


def test_raw_files_are_not_mistaken_for_their_previews(tmp_path, picture):
    picture.save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.dng")
    with pytest.raises(ImageReadError, match="camera's raw file: develop it"):
        read_image(tmp_path / "a.dng")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "cannot be opened .Permission denied"),
        (MemoryError(), "does not fit into memory"),
        (KeyError("anything"), "damaged or truncated"),
    ],
)
def test_whatever_a_decoder_raises_is_one_sentence(tmp_path, picture, monkeypatch, error, words):
    picture.save(tmp_path / "a.png")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageReadError, match=words):
        read_image(tmp_path / "a.png")


def test_a_fault_of_ours_is_not_called_damage(tmp_path, picture, monkeypatch):
    picture.save(tmp_path / "a.png")
    monkeypatch.setattr("datamodules.images.to_srgb", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read_image(tmp_path / "a.png")


def test_warnings_of_pillow_reach_nobody(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    script = (
        "from PIL import Image; from datamodules.images import read_pixels; Image.MAX_IMAGE_PIXELS = 2000; "
        f"print(read_pixels({str(tmp_path / 'a.png')!r}).shape)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    assert (done.stdout, done.stderr) == ("(40, 60, 3)\n", "")


def test_large_jpegs_decode_small_where_that_is_enough(tmp_path):
    Image.new("RGB", (1600, 800), "red").save(tmp_path / "big.jpg")
    assert read_pixels(tmp_path / "big.jpg", short_side=128).shape == (200, 400, 3)
    assert read_pixels(tmp_path / "big.jpg").shape == (800, 1600, 3)


@pytest.mark.parametrize("name", ["a.png", "deep/er/a.jpg", "a.WEBP"])
def test_writes_what_it_reads(tmp_path, name):
    image = torch.full((3, 16, 24), 100 / 255)
    write_image(image, tmp_path / name)
    assert torch.allclose(read_image(tmp_path / name), image, atol=2 / 255)
    assert [path.name for path in (tmp_path / name).parent.iterdir() if path.is_file()] == [Path(name).name]


def test_writing_clips_and_rounds(tmp_path):
    write_image(torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1), tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") * 255).round().flatten().tolist() == [0, 128, 255]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_image(torch.ones(3, 2, 2), tmp_path / "a.png")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(ImpastoError, match="No space left"):
        write_image(torch.zeros(3, 2, 2), tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").min() == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_refuses_to_write_unknown_formats(tmp_path):
    with pytest.raises(ImpastoError, match=r"\.png"):
        write_image(torch.ones(3, 2, 2), tmp_path / "a.pdf")


def test_lists_pictures_sorted_and_deep(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in list_images(tmp_path)] == ["a/z.JPG", "b.png"]


@pytest.mark.parametrize("suffix", [".avif", ".jfif", ".jp2", ".qoi", ".ppm", ".tga", ".mpo"])
def test_folders_take_what_can_be_read(tmp_path, picture, suffix):
    picture.save(tmp_path / f"a{suffix}", {".jfif": "JPEG", ".mpo": "JPEG"}.get(suffix))
    assert [read_image(path).shape for path in list_images(tmp_path)] == [(3, 40, 60)]


def test_every_suffix_of_a_folder_has_a_decoder_or_names_its_package():
    Image.init()
    by_package = {".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl"}
    readable = {suffix for suffix, kind in Image.EXTENSION.items() if kind in {*Image.OPEN, "MPO"}}
    assert IMAGE_SUFFIXES - by_package <= readable


def test_listing_explains_empty_and_missing_folders(tmp_path):
    with pytest.raises(ImpastoError, match="No pictures"):
        list_images(tmp_path)
    with pytest.raises(ImpastoError, match="does not exist"):
        list_images(tmp_path / "nowhere")
