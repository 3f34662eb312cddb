import pytest
import torch
from torchvision.transforms import RandomPerspective
from torchvision.transforms import functional as TF

from lightning_modules.errors import ImpastoError
from lightning_modules.least.canvas import Box
from lightning_modules.least.patches import Draw, cut, draw, homographies, places
from lightning_modules.least.settings import Patches

NOTEBOOK = Patches(count=64, size=20, fit_box=False, coverage=0.0)


def mask_of(box, side=64):
    mask = torch.zeros(1, side, side, dtype=torch.float64)
    box.of(mask).fill_(1)
    return mask


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        (Box(10, 12, 50, 40), (10, 30), (12, 20)),  # larger than a patch: inside the box
        (Box(30, 30, 40, 45), (20, 29), (25, 29)),  # smaller: around it
        (Box(0, 0, 5, 5), (0, 0), (0, 0)),  # touching the first row
        (Box(60, 55, 64, 64), (44, 59), (44, 54)),  # at the last row: over the edge
    ],
)
def test_places_are_the_notebooks(box, rows, columns):
    where = places(mask_of(box), box, NOTEBOOK)
    assert where.side == 20
    for axis, (low, high) in enumerate((rows, columns)):
        assert where.corners[:, axis].unique().tolist() == list(range(low, high + 1))
    assert len(where.corners) == (rows[1] - rows[0] + 1) * (columns[1] - columns[0] + 1)


def test_patches_fit_the_box_and_hold_enough_of_the_region():
    box, mask = Box(10, 10, 50, 40), mask_of(Box(10, 10, 50, 40))
    mask[:, 10:50, 10:25] = 0  # the left half of the box is none of the region
    where = places(mask, box, Patches(size=100, coverage=0.5))
    assert where.side == 30
    where = places(mask, box, Patches(size=20, coverage=0.5))
    shares = [float(mask[0, top : top + 20, left : left + 20].mean()) for top, left in where.corners.tolist()]
    assert min(shares) >= 0.5
    everywhere = places(mask, box, Patches(size=20, coverage=0.0))
    assert len(where.corners) < len(everywhere.corners)
    left = 10 + torch.arange(40 - 20 - 10 + 1)
    expected = [int(x) for x in left if float(mask[0, 20:40, x : x + 20].mean()) >= 0.5]
    assert where.corners[:, 1].unique().tolist() == expected


def test_of_a_region_that_fills_no_patch_the_fullest_places_are_taken():
    mask = mask_of(Box(30, 30, 31, 31))
    where = places(mask, Box(30, 30, 31, 31), Patches(size=20, coverage=0.5))
    assert where.side == 16
    for top, left in where.corners.tolist():
        assert float(mask[0, top : top + 16, left : left + 16].sum()) == 1


def test_a_draw_is_its_seeds_and_reaches_as_far_as_torchvisions():
    where = places(mask_of(Box(10, 12, 50, 40)), Box(10, 12, 50, 40), NOTEBOOK)
    settings = Patches(count=4000, size=20, distortion=0.5)
    drawn, again, other = (draw(where, settings, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(drawn.corners, again.corners)
    assert torch.equal(drawn.ends, again.ends)
    assert not torch.equal(drawn.corners, other.corners)
    theirs = torch.tensor([RandomPerspective.get_params(20, 20, 0.5)[1] for _ in range(4000)])
    for pick in (torch.amin, torch.amax):
        assert torch.equal(pick(drawn.ends, 0), pick(theirs, 0))
    assert torch.allclose(drawn.ends.double().mean(0), theirs.double().mean(0), atol=0.3)
    assert {tuple(corner) for corner in drawn.corners.tolist()} == {tuple(c) for c in where.corners.tolist()}


@pytest.mark.parametrize("darken_twice", [True, False])
def test_all_warps_at_once_are_torchvisions_one_by_one(darken_twice):
    image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    where = places(mask_of(Box(5, 5, 40, 40), 40), Box(5, 5, 40, 40), NOTEBOOK)
    drawn = draw(where, Patches(count=8, size=20), torch.Generator().manual_seed(3))
    drawn.corners[0] = torch.tensor([30, 35])  # over the edge
    squares = cut(image, drawn, darken_twice=darken_twice)
    starts = [[0, 0], [19, 0], [19, 19], [0, 19]]
    for number, square in enumerate(squares):
        crop = TF.crop(image[None], *drawn.corners[number].tolist(), 20, 20)
        fill = [0.0] * 3 if darken_twice else None
        expected = TF.perspective(crop, starts, drawn.ends[number].tolist(), fill=fill)[0]
        assert torch.allclose(square, expected, atol=1e-5)


def test_without_distortion_squares_stay_as_they_are():
    image = torch.rand(3, 40, 40)
    where = places(mask_of(Box(5, 5, 40, 40), 40), Box(5, 5, 40, 40), NOTEBOOK)
    drawn = draw(where, Patches(count=3, size=20, distortion=0.0), torch.Generator().manual_seed(3))
    for (top, left), square in zip(drawn.corners.tolist(), cut(image, drawn, darken_twice=True), strict=True):
        assert torch.equal(square, image[:, top : top + 20, left : left + 20])


def test_a_homography_moves_the_corners():
    ends = torch.tensor([[[1, 2], [17, 0], [19, 15], [3, 18]]])
    a, b, c, d, e, f, g, h = homographies(ends, 20)[0].tolist()
    for (x, y), start in zip(ends[0].tolist(), ([0, 0], [19, 0], [19, 19], [0, 19]), strict=True):
        below = g * x + h * y + 1
        assert abs((a * x + b * y + c) / below - start[0]) < 1e-9
        assert abs((d * x + e * y + f) / below - start[1]) < 1e-9


def test_gradients_reach_what_a_patch_shows_and_nothing_else():
    image = torch.rand(3, 40, 40, dtype=torch.float64, requires_grad=True)
    drawn = Draw(torch.tensor([[4, 6], [4, 6]]), torch.tensor([[[0, 0], [9, 0], [9, 9], [0, 9]]] * 2), 10)
    cut(image, drawn, darken_twice=False).sum().backward()
    assert bool((image.grad[:, 4:14, 6:16] == 2).all())
    assert float(image.grad.sum()) == 2 * 3 * 100


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 1}, {"distortion": 1.5}, {"coverage": -0.1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ImpastoError, match="patches"):
        Patches(**wrong)
