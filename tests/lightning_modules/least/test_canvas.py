import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.least.canvas import Box, box_of, feathered, frame_of, into_picture, mask_onto_canvas, onto_canvas
from lightning_modules.least.settings import Canvas


def rectangle(height, width, box, value=1.0):
    mask = torch.zeros(1, height, width)
    box.of(mask).fill_(value)
    return mask


def smooth(height, width):
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    return torch.stack([rows.expand(height, width), columns.expand(height, width), rows * columns])


@pytest.mark.parametrize("box", [Box(0, 0, 1, 1), Box(3, 5, 20, 6), Box(0, 0, 30, 40), Box(29, 39, 30, 40)])
def test_the_box_is_compact(box):
    assert box_of(rectangle(30, 40, box), 0.5) == box
    assert box_of(rectangle(30, 40, box, value=0.3), 1.0) == box  # of a mask that is nowhere whole, the most


def test_soft_borders_are_outside_of_a_solid_box():
    mask = rectangle(30, 40, Box(5, 5, 20, 20), 0.4) + rectangle(30, 40, Box(8, 8, 12, 15), 0.6)
    assert box_of(mask, 1.0) == Box(8, 8, 12, 15)
    assert box_of(mask, 0.4) == Box(5, 5, 20, 20)


def test_an_empty_mask_is_named():
    with pytest.raises(ImpastoError, match="mask is empty"):
        box_of(torch.zeros(1, 4, 4), 0.5)


def test_a_crop_shows_the_region_and_surroundings_as_square_as_it_can():
    mask = rectangle(200, 300, Box(50, 100, 90, 120))
    frame = frame_of(mask, Canvas(size=64), 0.5, 64)
    assert frame.window == Box(30, 70, 110, 150)  # 40 and twice 20; the 20 columns and twice 10 grow to 80
    assert frame.shown == (64, 64)
    corner = frame_of(rectangle(200, 300, Box(0, 0, 40, 20)), Canvas(size=64), 0.5, 64).window
    assert corner == Box(0, 0, 60, 60)
    wide = frame_of(rectangle(50, 300, Box(0, 0, 50, 300)), Canvas(size=64), 0.5, 64)
    assert wide.window == Box(0, 0, 50, 300)
    assert wide.shown == (11, 64)


def test_a_single_pixel_gets_surroundings_to_show():
    frame = frame_of(rectangle(200, 300, Box(100, 100, 101, 101)), Canvas(size=64), 0.5, 64)
    assert frame.window.size == (32, 32)


def test_a_stretched_canvas_shows_all():
    frame = frame_of(rectangle(20, 30, Box(1, 1, 2, 2)), Canvas(size=64, crop=False, keep_aspect=False), 0.5, 64)
    assert frame == (Box(0, 0, 20, 30), (64, 64))


@pytest.mark.parametrize("size", [(40, 120), (120, 40), (1, 200), (64, 64)])
def test_there_and_back_is_the_picture(size):
    picture = smooth(*size)
    frame = frame_of(torch.ones(1, *size), Canvas(size=256), 0.0, 256)
    canvas = onto_canvas(picture, frame, 256)
    assert canvas.shape == (3, 256, 256)
    back = into_picture(canvas, frame, torch.zeros_like(picture))
    assert float((back - picture).abs().max()) < 0.02
    mask = mask_onto_canvas(torch.ones(1, *size), frame, 256, "bilinear")
    assert float(mask.sum()) == frame.shown[0] * frame.shown[1]


def test_only_the_window_is_pasted():
    picture = smooth(60, 90)
    mask = rectangle(60, 90, Box(20, 30, 40, 50))
    frame = frame_of(mask, Canvas(size=64), 0.0, 64)
    pasted = into_picture(torch.ones(3, 64, 64), frame, picture)
    outside = torch.ones(60, 90, dtype=torch.bool)
    frame.window.of(outside).fill_(False)
    assert torch.equal(pasted[:, outside], picture[:, outside])
    assert bool((frame.window.of(pasted) == 1).all())


def test_a_feathered_mask_fades_inwards_only():
    mask = rectangle(80, 80, Box(0, 20, 40, 60))[None]
    soft = feathered(mask, 4.0)
    assert bool((soft <= mask).all())
    assert float(soft[0, 0, 20, 40]) == 1
    assert float(soft[0, 0, 20, 20]) < 0.2  # it begins at nothing, not at half
    assert 0 < float(soft[0, 0, 20, 22]) < float(soft[0, 0, 20, 25]) < 1
    assert float(soft[0, 0, 0, 40]) == 1  # the picture's border is none of the region's
    assert feathered(mask, 0.0) is mask
    thin = rectangle(80, 80, Box(10, 10, 11, 70))[None]
    assert torch.equal(feathered(thin, 8.0), thin)
    assert bool((feathered(torch.ones(1, 1, 9, 9), 8.0) == 1).all())


@pytest.mark.parametrize("settings", [{"size": 100}, {"size": 8}, {"repaint": 1001}])
def test_sides_that_cannot_be_halved_three_times_are_refused(settings):
    with pytest.raises(ImpastoError, match="multiple of 8"):
        Canvas(**settings)
