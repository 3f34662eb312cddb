import math
from itertools import product

import pytest
import torch

from lightning_modules.neat.windows import crop_windows, draw_windows, split_by_complexity, window_scores


def drawn(batch=2, count=5, seed=0, **arguments):
    torch.manual_seed(seed)
    return draw_windows(batch, count, **arguments)


def pictures(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pixels(window, height, width):
    """Top, bottom, left and right of a window, in pixels."""
    y, x, half_height, half_width = window.tolist()
    vertical = [(1 + y + sign * half_height) / 2 * height for sign in (-1, 1)]
    return *vertical, *sorted((1 + x + sign * half_width) / 2 * width for sign in (-1, 1))


def slow_crop(picture, window, size):
    """What is seen through one window, sample by sample; ``(C, size, size)``."""
    _, height, width = picture.shape
    top, bottom, left, right = pixels(window, height, width)
    if float(window[3]) < 0:
        left, right = right, left
    seen = torch.zeros(len(picture), size, size, dtype=torch.float64)
    for i, j in product(range(size), repeat=2):
        y = top + (bottom - top) * (i + 0.5) / size - 0.5  # the middle of pixel 0 is at 0
        x = left + (right - left) * (j + 0.5) / size - 0.5
        for row, column in product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
            share = (1 - abs(y - row)) * (1 - abs(x - column))
            seen[:, i, j] += share * picture[:, min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return seen


def slow_score(values, window):
    """The mean of one map over one window, pixel by pixel."""
    height, width = values.shape
    top, bottom, left, right = pixels(window, height, width)
    total = 0.0
    for row in range(height):
        for column in range(width):
            inside = max(0.0, min(bottom, row + 1) - max(top, row)) * max(
                0.0, min(right, column + 1) - max(left, column)
            )
            total += inside * float(values[row, column])
    return total / ((bottom - top) * (right - left))


def test_windows_lie_inside_and_their_sides_are_in_range_and_drawn_apart():
    windows = drawn(50, 40, scales=(0.1, 0.3))
    centre, half = windows[..., :2], windows[..., 2:].abs()
    assert float((centre.abs() + half).max()) <= 1 + 1e-6
    assert float((centre.abs() + half).max()) > 0.99  # and reach the borders
    assert 0.1 <= float(half.min()) < 0.101
    assert 0.299 < float(half.max()) <= 0.3 + 1e-7
    assert float(half.mean()) == pytest.approx(0.2, abs=0.003)
    flat = torch.cat([centre / (1 - half), half], 2).flatten(0, 1)
    assert float((flat.T.corrcoef() - torch.eye(4)).abs().max()) < 0.1
    assert float(centre.mean().abs()) < 0.05


def test_every_second_window_is_mirrored_and_none_stands_on_its_head():
    windows = drawn(50, 40)
    assert float((windows[..., 3] < 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert float(windows[..., 2].min()) > 0


def test_a_seed_gives_its_windows():
    assert torch.equal(drawn(seed=3), drawn(seed=3))
    assert not torch.equal(drawn(seed=3), drawn(seed=4))


def test_crops_are_bilinear_samples():
    images, windows = pictures(2, 3, 13, 18), drawn(scales=(0.3, 0.6)).double()
    windows[0, 0] = torch.tensor([-0.8, 0.75, 0.2, -0.25])  # in a corner, where samples have neighbours outside
    seen = crop_windows(images, windows, 7)
    assert seen.shape == (2, 5, 3, 7, 7)
    assert {float(side) for side in windows[..., 3].sign().unique()} == {-1, 1}
    for b in range(2):
        for k in range(5):
            assert torch.allclose(seen[b, k], slow_crop(images[b], windows[b, k], 7), atol=1e-12)


@pytest.mark.parametrize("mirrored", [1, -1])
def test_a_window_as_large_as_the_picture_shows_the_picture(mirrored):
    images = pictures(2, 3, 9, 9)
    seen = crop_windows(images, torch.tensor([0.0, 0.0, 1.0, mirrored]).expand(2, 1, 4), 9)
    assert torch.allclose(seen[:, 0], images if mirrored == 1 else images.flip(3), atol=1e-6)


def test_gradients_reach_the_pixels_in_a_window_and_no_other():
    images, windows = pictures(1, 3, 20, 30).requires_grad_(), torch.tensor([[[-0.4, 0.5, 0.2, 0.3]]])
    crop_windows(images, windows, 8).sum().backward()
    top, bottom, left, right = pixels(windows[0, 0], 20, 30)
    assert float(images.grad.sum()) == pytest.approx(3 * 8 * 8)
    rows, columns = images.grad.abs().sum((0, 1, 3)).nonzero(), images.grad.abs().sum((0, 1, 2)).nonzero()
    assert top - 1 <= int(rows.min()) < int(rows.max()) < bottom + 1
    assert left - 1 <= int(columns.min()) < int(columns.max()) < right + 1


def test_half_precision_pictures_are_cut_in_full_precision():
    images, windows = torch.rand(2, 3, 16, 16).bfloat16(), drawn()
    with torch.autocast("cpu", torch.bfloat16):
        seen = crop_windows(images, windows, 8)
        scores = window_scores(images[:, :1].float(), windows)
    assert seen.dtype == scores.dtype == torch.float32
    assert torch.equal(seen, crop_windows(images.float(), windows, 8))
    assert torch.equal(scores, window_scores(images[:, :1].float(), windows))


def test_a_score_is_the_mean_over_the_window():
    values, windows = pictures(2, 1, 11, 17), drawn(scales=(0.1, 0.5)).double()
    scores = window_scores(values, windows)
    for b in range(2):
        for k in range(5):
            assert float(scores[b, k]) == pytest.approx(slow_score(values[b, 0], windows[b, k]), abs=1e-12)


def test_windows_are_sorted_and_the_middle_ones_are_left_out():
    windows, scores = drawn(3, 12), pictures(3, 12).float()
    simple, rich = split_by_complexity(windows, scores, 4)
    for b in range(3):
        order = sorted(range(12), key=lambda k, b=b: float(scores[b, k]))
        assert torch.equal(simple[b], windows[b, order[:4]])
        assert torch.equal(rich[b], windows[b, order[8:]])


def test_equal_scores_keep_the_order():
    windows = drawn(1, 6)
    simple, rich = split_by_complexity(windows, torch.zeros(1, 6), 3)
    assert torch.equal(torch.cat([simple, rich], 1), windows)
