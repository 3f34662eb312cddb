import numpy as np
import pytest
import torch

from experiments.demo.strokes import region_of
from lightning_modules.errors import ImpastoError


def stroke(opacity, rows):
    layer = np.zeros((8, 12, 4), dtype=np.uint8)
    layer[rows] = (229, 72, 77, opacity)
    return layer


def test_nothing_drawn_and_nothing_uploaded_is_everywhere():
    assert region_of([], None, (8, 12)) is None
    assert region_of([np.zeros((8, 12, 4), dtype=np.uint8)], None, (8, 12)) is None


def test_the_brush_may_be_translucent_and_still_means_all():
    region = region_of([stroke(140, slice(0, 2))], None, (8, 12))
    assert region[0, :, 0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_strokes_of_several_layers_and_a_mask_count_together():
    uploaded = torch.zeros(1, 16, 24)
    uploaded[:, 14:] = 1
    region = region_of([stroke(255, slice(0, 1)), stroke(90, slice(3, 4))], uploaded, (8, 12))
    assert region[0, :, 5].round().tolist() == [1, 0, 0, 1, 0, 0, 0, 1]


def test_a_region_has_the_size_of_the_photograph():
    assert region_of([stroke(255, slice(0, 4))], None, (16, 24))[0, :, 0].round().tolist() == [1] * 8 + [0] * 8


def test_a_dark_mask_is_a_mistake():
    with pytest.raises(ImpastoError, match="dark everywhere"):
        region_of([], torch.zeros(1, 8, 12), (8, 12))
