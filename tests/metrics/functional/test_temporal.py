import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from metrics.functional.temporal import occluded, warp, warped_error


def pictures(seed, n=2, height=7, width=9):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def flows(seed, n=2, height=7, width=9, size=3.0):
    return size * (2 * torch.rand(n, 2, height, width, generator=torch.Generator().manual_seed(seed)) - 1)


def constant(dx, dy, n=1, height=7, width=9):
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(n, 2, height, width)


def literal(image, flow):
    """By scipy, one channel at a time."""
    height, width = image.shape[1:]
    y, x = np.mgrid[:height, :width] + flow.double().numpy()[::-1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    planes = [map_coordinates(plane, (y, x), order=1, mode="nearest") for plane in image.double().numpy()]
    return np.stack(planes) * inside, inside


def test_warp_against_scipy():
    images, flow = pictures(0), flows(1)
    moved, inside = warp(images, flow)
    for row in range(2):
        expected, visible = literal(images[row], flow[row])
        np.testing.assert_array_equal(inside[row, 0], visible)
        np.testing.assert_allclose(moved[row], expected, atol=1e-12)
    assert 0 < int(inside.sum()) < inside.numel()


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (2, 0), (-1, 3), (8, 6)])
def test_whole_steps_are_exact(dx, dy):
    image = pictures(0, n=1)
    moved, inside = warp(image, constant(dx, dy))
    top, left = max(0, -dy), max(0, -dx)
    source = image[..., max(0, dy) : 7 + min(0, dy), max(0, dx) : 9 + min(0, dx)].double()
    target = moved[..., top : top + source.shape[-2], left : left + source.shape[-1]]
    assert torch.equal(target, source)
    assert int(inside.sum()) == source.shape[-2] * source.shape[-1]
    assert float(moved.sum()) == pytest.approx(float(source.sum()))


def test_a_flow_that_is_not_finite_shows_nothing():
    for value in (torch.nan, torch.inf):
        flow = constant(0, 0).clone()
        flow[0, 0, 3, 3] = value
        moved, inside = warp(pictures(0, n=1), flow)
        assert int((~inside).sum()) == 1
        assert bool(moved.isfinite().all())


@pytest.mark.parametrize("norm", ["mse", "rmse", "mae"])
@pytest.mark.parametrize("hidden", [False, True])
def test_error_against_numpy(norm, hidden):
    frames, previous, flow = pictures(0), pictures(1), flows(2)
    occlusion = torch.rand(2, 1, 7, 9, generator=torch.Generator().manual_seed(3)) > 0.6 if hidden else None
    values = warped_error(frames, previous, flow, occlusion, norm)
    for row in range(2):
        moved, visible = literal(previous[row], flow[row])
        visible = visible & ~occlusion[row, 0].numpy() if hidden else visible
        gap = (frames[row].double().numpy() - moved)[:, visible]
        expected = {"mse": (gap**2).mean(), "rmse": np.sqrt((gap**2).mean()), "mae": np.abs(gap).mean()}[norm]
        np.testing.assert_allclose(float(values[row]), expected, rtol=1e-11)


@pytest.mark.parametrize("norm", ["mse", "rmse", "mae"])
def test_still_and_shifted_clips_are_exactly_zero(norm):
    frame = pictures(0, n=1)
    assert float(warped_error(frame, frame, constant(0, 0), norm=norm)) == 0
    assert float(warped_error(frame, frame.roll((2, -3), (2, 3)), constant(-3, 2), norm=norm)) == 0
    assert float(warped_error(frame.half(), frame.half(), constant(0, 0).half(), norm=norm)) == 0


def test_nothing_to_compare_is_nan():
    frame = pictures(0, n=1)
    assert bool(warped_error(frame, frame, constant(9, 0)).isnan())
    assert bool(warped_error(frame, frame, constant(0, 0), torch.ones(1, 7, 9)).isnan())


def test_shapes_that_do_not_fit():
    frame = pictures(0, n=1)
    with pytest.raises(ValueError, match=r"need a flow \(B, 2, H, W\)"):
        warp(frame, torch.zeros(1, 2, 7, 8))
    with pytest.raises(ValueError, match="differ in shape"):
        warped_error(frame, pictures(0, n=1, height=8), constant(0, 0))
    with pytest.raises(ValueError, match="occlusion must be"):
        warped_error(frame, frame, constant(0, 0), torch.zeros(1, 1, 7, 8))


def test_occlusion_by_going_there_and_back():
    there, back = constant(2, 0), constant(-2, 0)
    lost = occluded(there, back)
    assert torch.equal(lost[0, 0], torch.arange(9).expand(7, 9) > 6)  # only what left on the right
    assert bool(occluded(there, constant(0, 0)).all())
    broken = back.clone()
    broken[0, 0, 3, 5] = 4
    assert (occluded(there, broken) & ~lost).nonzero().tolist() == [[0, 0, 3, 3]]
