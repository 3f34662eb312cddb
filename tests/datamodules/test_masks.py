import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images import ImageReadError
from datamodules.masks import box_mask, fit_mask, parse_box, read_mask
from lightning_modules.errors import ImpastoError


def test_brightness_is_a_mask(tmp_path):
    grey = np.array([[0, 51, 255]], dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert torch.allclose(read_mask(tmp_path / "a.png"), torch.tensor([[[0, 0.2, 1]]]))
    Image.fromarray(grey > 100).save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png").tolist() == [[[0, 0, 1]]]


def test_opacity_is_a_mask_where_there_is_any_transparency(tmp_path):
    pixels = np.full((1, 3, 4), 255, dtype=np.uint8)
    pixels[0, :, :3] = [[0, 0, 0], [255, 255, 255], [0, 0, 0]]
    Image.fromarray(pixels, "RGBA").save(tmp_path / "opaque.png")
    assert read_mask(tmp_path / "opaque.png").tolist() == [[[0, 1, 0]]]
    pixels[0, :, 3] = [255, 0, 51]
    Image.fromarray(pixels, "RGBA").save(tmp_path / "cut.png")
    assert torch.allclose(read_mask(tmp_path / "cut.png"), torch.tensor([[[1, 0, 0.2]]]))


def test_a_mask_that_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ImageReadError, match="is not a picture"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("2,1,4,3", (1, 3), (2, 4)),
        ("0.25,0.0,0.5,0.5", (0, 2), (2, 4)),
        ("0.2,0.3,0.49,0.99", (1, 4), (1, 4)),  # every pixel that it touches
        ("6,3,600,400", (3, 4), (6, 8)),
    ],
)
def test_a_box_in_pixels_or_shares(text, rows, columns):
    expected = torch.zeros(1, 4, 8)
    expected[:, slice(*rows), slice(*columns)] = 1
    assert torch.equal(box_mask(parse_box(text), 4, 8), expected)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,2,2", "1e3,0,2e3,2", "nan,0,1,1", "[0,0,1,1]"]
)
def test_what_is_no_box(text):
    with pytest.raises(ImpastoError, match="A box is four numbers"):
        parse_box(text)


@pytest.mark.parametrize("text", ["2,2,2,4", "3,0,1,2", "0.5,0.5,1.5,1.0"])
def test_an_empty_box(text):
    with pytest.raises(ImpastoError, match="is empty or outside"):
        parse_box(text)


def test_a_box_outside_the_picture():
    with pytest.raises(ImpastoError, match=r"starts at \(8, 0\), outside the picture of 8 x 4"):
        box_mask(parse_box("8,0,9,1"), 4, 8)


def test_a_mask_of_another_size_is_fitted():
    mask = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    assert fit_mask(mask, 2, 2) is mask
    assert torch.equal(fit_mask(mask, 8, 8)[0, :, 0], torch.zeros(8))
    assert torch.equal(fit_mask(mask, 8, 8)[0, :, -1], torch.ones(8))
    assert torch.allclose(fit_mask(torch.eye(64)[None], 8, 8).mean(), torch.eye(64).mean(), atol=1e-3)


def test_a_broken_exif_block_beside_a_sound_mask_is_no_matter(tmp_path):
    pixels = np.full((1, 2, 4), 255, dtype=np.uint8)
    pixels[0, 1, 3] = 0
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png", exif=b"garbage")
    assert read_mask(tmp_path / "a.png").tolist() == [[[1, 0]]]
