import math

import numpy as np
import pytest
import torch

from lightning_modules.errors import ImpastoError
from metrics.functional.region import (
    background_error,
    edge_seam,
    mask_iou,
    masked_distance,
    masked_ssim,
    region_crops,
)
from metrics.functional.ssim import structural_similarity


def pictures(seed, height=20, width=24, batch=2):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def blob(height=20, width=24):
    """Return two soft masks."""
    mask = torch.zeros(2, 1, height, width)
    mask[0, :, 3:14, 5:17] = 1
    mask[0, :, 14, 5:17] = 0.4
    mask[1, :, :, 12:] = 0.7
    return mask


def literal_ssim(x, y, mask):
    """One window after another, in float64, on one picture ``(H, W, 3)`` and its mask ``(H, W)``."""
    kernel = np.array([[math.exp(-(i * i + j * j) / (2 * 1.5**2)) for j in range(-5, 6)] for i in range(-5, 6)])
    total = weight = 0.0
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            centre = mask[top + 5, left + 5]
            if centre == 0:
                continue
            w = kernel * mask[top : top + 11, left : left + 11]
            w = w / w.sum()
            for channel in range(3):
                a, b = (side[top : top + 11, left : left + 11, channel] for side in (x, y))
                ma, mb = (w * a).sum(), (w * b).sum()
                va, vb, cov = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum(), (w * (a - ma) * (b - mb)).sum()
                value = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
                total += centre * value / 3
            weight += centre
    return total / weight


def test_ssim_inside_a_mask_is_that_of_windows_cut_by_it():
    a, b, mask = pictures(0), 0.5 * pictures(0) + 0.5 * pictures(1), blob()
    expected = [
        literal_ssim(*(side[row].permute(1, 2, 0).double().numpy() for side in (a, b)), mask[row, 0].double().numpy())
        for row in range(2)
    ]
    assert masked_ssim(a, b, mask).tolist() == pytest.approx(expected, rel=1e-9)


def test_ssim_inside_a_mask_of_ones_is_ssim():
    a, b = pictures(0), pictures(1)
    whole = structural_similarity(a.double(), b.double())
    assert masked_ssim(a, b, torch.ones(2, 20, 24, dtype=torch.bool)).tolist() == pytest.approx(whole.tolist())


def test_nothing_outside_the_mask_counts():
    a, b, mask = pictures(0), pictures(1), (blob() > 0.5).float()
    other = torch.where(mask > 0, a, pictures(2))

    def square(x, y):
        return (x - y).square().mean((1, 2, 3))

    for metric in (masked_ssim, lambda *sides: masked_distance(square, *sides)):
        assert metric(a, b, mask).tolist() == pytest.approx(metric(other, b, mask).tolist(), rel=1e-9)
        assert metric(a, b, mask).tolist() != pytest.approx(metric(pictures(2), b, mask).tolist(), rel=1e-3)
    assert masked_ssim(a, other, mask).tolist() == [1, 1]
    assert masked_distance(square, a, other, mask).tolist() == [0, 0]


def test_a_distance_inside_a_mask_is_its_mean_there_whatever_the_regions_size():
    def square(x, y):
        return (x - y).double().square().mean((1, 2, 3))

    content = torch.full((2, 3, 20, 24), 0.25)
    mask = (blob() > 0.5).float()
    assert mask[0].mean() != mask[1].mean()
    found = masked_distance(square, content + 0.5, content, mask)
    assert found.tolist() == pytest.approx([0.25, 0.25])
    a, b = pictures(0), pictures(1)
    expected = [
        np.mean([float((a[row, c, y, x] - b[row, c, y, x]) ** 2) for c in range(3) for y, x in mask[row, 0].nonzero()])
        for row in range(2)
    ]
    assert masked_distance(square, a, b, mask).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_background_error_is_the_largest_change_outside():
    content, mask = pictures(0), blob()
    stylized = torch.where(mask > 0, pictures(1), content)
    assert background_error(stylized, content, mask)[0] == 0
    assert math.isnan(background_error(stylized, content, torch.full_like(mask, 0.1))[0])
    stylized[0, 1, 0, 0] += 3 / 255 if content[0, 1, 0, 0] < 0.5 else -3 / 255
    stylized[1, :, 0, 0] = 1 - content[1, :, 0, 0]
    expected = float((1 - 2 * content[1, :, 0, 0]).abs().max())
    assert background_error(stylized, content, mask).tolist() == pytest.approx([3 / 255, expected], abs=1e-6)
    eight = (content * 255).byte()
    assert background_error(eight, eight, mask).tolist() == [0, 0]


def literal_seam(s, c, inside):
    """Pair by pair, on pictures ``(3, H, W)`` and a mask ``(H, W)``."""
    steps = []
    for (y, x), own in np.ndenumerate(inside):
        for v, u in ((y + 1, x), (y, x + 1)):
            if v < inside.shape[0] and u < inside.shape[1] and own != inside[v, u]:
                jump, before = (np.abs(side[:, y, x] - side[:, v, u]).mean() for side in (s, c))
                steps.append(jump - before)
    return np.mean(steps)


def test_the_seam_is_the_mean_excess_of_steps_across_the_edge():
    content, mask = pictures(0), blob()
    stylized = torch.where(mask > 0, pictures(1), content)
    inside = (mask[:, 0] >= 0.5).numpy()
    expected = [literal_seam(stylized[i].double().numpy(), content[i].double().numpy(), inside[i]) for i in range(2)]
    assert edge_seam(stylized, content, mask).tolist() == pytest.approx(expected, rel=1e-9)


def test_the_seam_of_flat_pictures_is_their_step():
    content = torch.full((1, 3, 16, 16), 0.25)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:12, 4:12] = 1
    assert edge_seam(content, content, mask).tolist() == [0]
    assert edge_seam(content + 0.5 * mask, content, mask).tolist() == pytest.approx([0.5])
    feathered = torch.nn.functional.avg_pool2d(mask, 5, 1, 2)
    assert 0 < float(edge_seam(content + 0.5 * feathered, content, feathered)) < 0.2
    assert edge_seam(content, content + 0.5 * mask, mask).tolist() == pytest.approx([-0.5])  # it was there before
    assert math.isnan(edge_seam(content, content, torch.ones_like(mask)))


def test_overlap_of_masks():
    a, b = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    a[0, 0, :2], b[0, 0, 1:3] = 0.9, 0.6
    a[1, 0, 0], b[1, 0, 0] = 0.4, 1
    found = mask_iou(a, b).tolist()
    assert found[:2] == pytest.approx([1 / 3, 0])
    assert math.isnan(found[2])
    with pytest.raises(ImpastoError, match="differ in shape"):
        mask_iou(a, b[:2])


def test_crops_hold_the_regions_own_pixels_alone():
    image = torch.arange(6 * 8, dtype=torch.float32).reshape(1, 1, 6, 8).repeat(1, 3, 1, 1) / 48
    mask = torch.zeros(1, 1, 6, 8)
    mask[..., 1:4, 2:5] = 1
    (crop,) = region_crops(image, mask)
    assert torch.equal(crop, image[0, :, 1:4, 2:5])
    mask[..., 1, 2] = 0  # a corner of the box
    (crop,) = region_crops(image, mask)
    known = set(image[0, 0][mask[0, 0] > 0].tolist())
    assert set(crop[0].flatten().tolist()) <= known
    (wide,) = region_crops(image, mask, smallest=5)
    assert wide.shape == (3, 5, 5)
    assert set(wide[0].flatten().tolist()) <= known
    (clipped,) = region_crops(image, mask, smallest=99)
    assert clipped.shape == (3, 6, 8)


def test_crops_are_filled_by_reflection():
    image = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.9, 0.9, 0.9, 0.9]).expand(1, 3, 8, 8).clone()
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    mask[..., 0, :] = 1  # so that the box is the whole picture
    image[..., 0, :] = 0.5
    (crop,) = region_crops(image, mask)
    assert crop[0, 6].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.3, 0.2, 0.1, 0.4], abs=1e-6)


def test_a_faint_mask_is_a_mask_and_an_empty_one_is_none():
    image, mask = pictures(0, batch=1), torch.zeros(1, 1, 20, 24)
    mask[..., 2:6, 2:8] = 0.2
    assert region_crops(image, mask)[0].shape == (3, 4, 6)
    with pytest.raises(ImpastoError, match="mask of picture 0 is empty"):
        region_crops(image, torch.zeros_like(mask))


@pytest.mark.parametrize("metric", [masked_ssim, background_error, edge_seam])
def test_masks_that_do_not_fit(metric):
    a = pictures(0)
    with pytest.raises(ImpastoError, match="need masks"):
        metric(a, a, torch.ones(2, 1, 20, 20))
    with pytest.raises(ImpastoError, match="lie in"):
        metric(a, a, torch.full((2, 1, 20, 24), 255.0))
    with pytest.raises(ImpastoError, match="differ in shape"):
        metric(a, a[..., 1:], torch.ones(2, 1, 20, 24))


def test_a_region_without_a_window_has_no_ssim():
    a, mask = pictures(0), torch.zeros(2, 1, 20, 24)
    mask[:, :, :3] = 1
    assert masked_ssim(a, a, mask).isnan().all()
