import copy

import numpy as np
import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.chamfer import ColorChamfer


def pictures(seed, n=5, height=8, width=8):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def expected(a, b):
    """The mean over pairs, every pixel against every pixel."""
    values = []
    for x, y in zip(a, b, strict=True):
        x, y = (np.round(image.flatten(1).T.double().numpy() * 255) for image in (x, y))
        gaps = ((x[:, None] - y[None]) ** 2).sum(2)
        values.append(gaps.min(1).mean() + gaps.min(0).mean())
    return np.mean(values)


@pytest.mark.parametrize("splits", [(5,), (1, 4), (2, 2, 1), (4, 1)])
def test_batches_of_any_size_give_one_mean(splits):
    a, b = pictures(0), pictures(1, height=5, width=11)
    metric = ColorChamfer()
    for part_a, part_b in zip(a.split(splits), b.split(splits), strict=True):
        metric.update(part_a, part_b)
    np.testing.assert_allclose(float(metric.compute()), expected(a, b), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_any_type(dtype):
    a, b = (pictures(seed) for seed in (0, 1))
    a, b = ((x * 255).round().byte() if dtype == torch.uint8 else x.to(dtype) for x in (a, b))
    metric = ColorChamfer()
    with torch.autocast("cpu", torch.bfloat16):
        metric.update(a, b)
    plain = [x.float() / 255 if dtype == torch.uint8 else x.float() for x in (a, b)]
    np.testing.assert_allclose(float(metric.compute()), expected(*plain), rtol=1e-12)


def test_equal_colours_are_exactly_zero():
    metric = ColorChamfer()
    metric.update(pictures(0), pictures(0).flip(3))
    metric.update(pictures(0), pictures(0).repeat(1, 1, 2, 1))
    metric.update(torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 4, 4))
    assert float(metric.compute()) == 0


def test_the_farthest_colours():
    metric = ColorChamfer()
    metric.update(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 2, 2))
    assert float(metric.compute()) == 390150


def test_options_stand_in_the_convention():
    lines = {
        ColorChamfer(squared=squared, direction=direction, space=space, quantize=quantize).convention
        for squared in (True, False)
        for direction in ("sum", "half", "preds_to_target", "target_to_preds")
        for space in ("rgb", "rgb_unit", "lab")
        for quantize in (True, False)
    }
    assert len(lines) == 48
    assert not any("\n" in line for line in lines)


def test_casts_copies_and_checkpoints():
    parent = nn.Module()
    parent.metric = ColorChamfer()
    parent.metric.update(pictures(0), pictures(1))
    before = float(parent.metric.compute())
    parent.to(torch.bfloat16).half()
    parent.metric.update(pictures(0), pictures(1))
    assert float(parent.metric.compute()) == float(copy.deepcopy(parent.metric).compute()) == before
    assert parent.state_dict() == {}


def test_bad_input_is_refused_in_one_sentence():
    metric = ColorChamfer()
    for a, b, words in [
        (pictures(0), pictures(1, n=4), "5 stylized pictures and 4 styles"),
        (pictures(0) * 255, pictures(1), r"stylized pictures must lie in \[0, 1\]"),
        (pictures(0), torch.full((5, 3, 4, 4), torch.nan), r"style pictures must lie in \[0, 1\]"),
        (pictures(0), pictures(1).long(), "float in"),
        (pictures(0)[0], pictures(1)[0], r"\(B, 3, H, W\)"),
    ]:
        with pytest.raises(ImpastoError, match=words):
            metric.update(a, b)
    with pytest.raises(ImpastoError, match="8-bit RGB only"):
        ColorChamfer(space="lab", search="matmul")
