import numpy as np
import pytest
import torch

from lightning_modules.errors import ImpastoError
from metrics.functional.clip_score import clip_score, cosine, directional_score, masked, masked_crop


def vectors(seed, n=50, d=8, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).to(dtype)


def expected(a, b):
    a, b = a.double().numpy(), b.double().numpy()
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("length", [1e-30, 1.0, 1e30])
def test_cosine_against_numpy(dtype, length):
    length = 1.0 if dtype == torch.float16 else length
    a, b = vectors(0, dtype=dtype) * length, vectors(1, dtype=dtype)
    np.testing.assert_allclose(cosine(a, b), expected(a, b), atol=1e-12)


def test_cosine_at_its_ends():
    a = vectors(0, n=500)
    assert cosine(a, a.clone()).unique().tolist() == [1]
    assert cosine(a, -a).unique().tolist() == [-1]
    assert cosine(a, 3 * a).max() <= 1
    assert cosine(a, torch.zeros_like(a)).unique().tolist() == [0]
    assert cosine(torch.zeros_like(a), torch.zeros_like(a)).unique().tolist() == [0]


def test_scores_are_clamped_pair_by_pair():
    a, b = vectors(0), vectors(1)
    np.testing.assert_allclose(clip_score(a, b, scale=100), 100 * expected(a, b), atol=1e-10)
    clamped = clip_score(a, b, scale=2.5, clamp=True)
    np.testing.assert_allclose(clamped, 2.5 * expected(a, b).clip(min=0), atol=1e-12)
    assert clamped.mean() > 2.5 * max(expected(a, b).mean(), 0)  # clamping the mean is another number


def test_direction_against_numpy():
    sides = [vectors(seed) for seed in range(4)]
    unit = [x / x.norm(dim=1, keepdim=True) for x in (side.double() for side in sides)]
    np.testing.assert_allclose(directional_score(*sides), expected(unit[0] - unit[1], unit[2] - unit[3]), atol=1e-12)
    joined = directional_score(*sides[:3], sides[3][:1])
    assert torch.equal(joined, directional_score(*sides[:3], sides[3][:1].expand(50, -1)))


def test_no_step_has_no_direction():
    a, text, origin = vectors(0), vectors(1), vectors(2)
    assert directional_score(a, a.clone(), text, origin).unique().tolist() == [0]
    assert directional_score(a, text, origin, origin.clone()).unique().tolist() == [0]
    assert directional_score(a, text, 5 * a, 2 * text).min() > 1 - 1e-12


def literal_crop(image, mask):
    """Pixel by pixel."""
    inside = [(y, x) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x] > 0]
    ys, xs = zip(*inside, strict=True)
    crop = torch.zeros(3, max(ys) - min(ys) + 1, max(xs) - min(xs) + 1)
    for y, x in inside:
        crop[:, y - min(ys), x - min(xs)] = image[:, y, x] * mask[y, x]
    return crop


@pytest.mark.parametrize("shape", ["scattered", "one pixel", "row", "everything", "soft"])
def test_crop_against_loops(shape):
    image = torch.rand(1, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 9, 12)
    if shape == "scattered":
        mask[0, [2, 5, 7], [3, 9, 4]] = 1
    elif shape == "one pixel":
        mask[0, 8, 11] = 1
    elif shape == "row":
        mask[0, 0, 2:9] = 1
    elif shape == "everything":
        mask += 1
    else:
        mask[0, 1:4, 2:7] = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    expected_crop = literal_crop(image[0], mask[0])
    assert torch.equal(masked_crop(image, mask)[0], expected_crop)
    assert torch.equal(masked_crop(image, mask[:, None])[0], expected_crop)
    if shape != "soft":
        assert torch.equal(masked_crop(image, mask.bool())[0], expected_crop)
    square = masked_crop(image, mask, square=True)[0]
    assert square.shape[1] == square.shape[2] == max(expected_crop.shape[1:])
    assert float(square.sum()) == pytest.approx(float(expected_crop.sum()))
    down, across = ((square.shape[1] - side) // 2 for side in expected_crop.shape[1:])
    middle = square[:, down : down + expected_crop.shape[1], across : across + expected_crop.shape[2]]
    assert torch.equal(middle, expected_crop)


def test_masks_of_a_batch():
    images, masks = torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    masks[0, 0, 1:3, 1:5] = 1
    masks[1, 0, 4:8, 4:6] = 1
    assert [tuple(crop.shape) for crop in masked_crop(images, masks)] == [(3, 2, 4), (3, 4, 2)]
    assert torch.equal(masked(images, masks), images * masks)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.zeros(1, 1, 8, 8), "mask of picture 0 is empty"),
        (torch.ones(1, 1, 8, 9), r"need masks \(B, 1, H, W\), got \(1, 1, 8, 9\)"),
        (torch.ones(2, 1, 8, 8), "need masks"),
        (torch.full((1, 1, 8, 8), 255.0), r"lie in \[0, 1\]"),
        (torch.full((1, 1, 8, 8), torch.nan), r"lie in \[0, 1\]"),
    ],
)
def test_bad_masks_are_refused_in_one_sentence(mask, words):
    with pytest.raises(ImpastoError, match=words) as caught:
        masked_crop(torch.rand(1, 3, 8, 8), mask)
    assert "\n" not in str(caught.value)
