import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.regions import (
    NotFoundError,
    at_size,
    box_around,
    cleaned,
    clip_box,
    feathered_box,
    outside,
    region_of,
    united,
    working_copy,
)


def block(y0, y1, x0, x1, size=(40, 60)):
    mask = torch.zeros(1, *size)
    mask[:, y0:y1, x0:x1] = 1
    return mask


def test_the_box_of_a_mask_ends_behind_its_last_pixel():
    assert box_around(block(3, 7, 10, 30)) == (10, 3, 30, 7)


def test_a_faint_mask_has_a_box_too_and_an_empty_one_has_none():
    assert box_around(0.2 * block(3, 7, 10, 30)) == (10, 3, 30, 7)
    with pytest.raises(NotFoundError, match="The region is empty"):
        box_around(torch.zeros(1, 4, 4))


def test_small_holes_are_filled_and_specks_dropped():
    mask = block(5, 35, 5, 35)
    mask[:, 20, 20] = 0  # a hole
    mask[:, 10:20, 10:20] = 0  # a window
    mask[:, 2, 50] = 1  # a speck
    clean = cleaned(mask)
    expected = block(5, 35, 5, 35)
    expected[:, 10:20, 10:20] = 0
    assert torch.equal(clean, expected)


def test_a_small_bay_at_the_picture_s_edge_is_no_hole():
    mask = block(0, 40, 0, 40)
    mask[:, 0, 10] = 0
    assert torch.equal(cleaned(mask), mask)


def test_unions_and_complements():
    left, right = region_of(block(0, 40, 0, 20), 0.9, "a"), region_of(block(0, 40, 10, 30), 0.5, "b")
    both = united([left, right])
    assert both.box == (0, 0, 30, 40)
    assert (both.score, both.source) == (0.5, "a and b")
    assert outside(both).box == (30, 0, 60, 40)
    with pytest.raises(NotFoundError):
        outside(region_of(torch.ones(1, 4, 4), 1.0, "all"))


def test_a_feathered_box_fades_inside_itself_and_not_at_the_picture_s_edge():
    mask = feathered_box((0, 10, 30, 30), (40, 60), share=0.2)
    assert (mask[:, :, 30:] == 0).all()
    assert (mask[:, :10] == 0).all()
    assert mask[0, 20, 0] == 1
    assert mask[0, 20, 15] == 1
    assert 0 < mask[0, 20, 29] < 0.5
    assert mask[0, 20, 28] > mask[0, 20, 29]


def test_boxes_are_clipped_and_those_outside_refused():
    assert clip_box((-5, 3, 100, 20), (40, 60)) == (0, 3, 60, 20)
    with pytest.raises(ImpastoError, match="outside the picture of 60 x 40 pixels"):
        clip_box((60, 0, 80, 10), (40, 60))
    with pytest.raises(ImpastoError, match="is empty or outside"):
        clip_box((10, 10, 10, 20), (40, 60))


def test_a_large_picture_is_shrunk_and_its_mask_comes_back_at_full_size():
    small, scale = working_copy(torch.rand(3, 30, 10_000), 2048)
    assert small.shape == (3, 6, 2048)
    assert scale == pytest.approx(0.2048)
    assert at_size(torch.ones(1, 6, 2048), (30, 10_000)).shape == (1, 30, 10_000)
