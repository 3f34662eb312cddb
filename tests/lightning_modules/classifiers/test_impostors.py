"""Pictures that nobody painted: each lacks the palette or the stroke, and a seed gives the same ones."""

import pytest
import torch

from lightning_modules.classifiers import impostors as made
from lightning_modules.classifiers.augmentation import blur, luma


def pictures(seed=0, count=48):
    """Smooth scenes, each with colours of its own."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 5, 5, generator=generator)
    tilt = 0.5 + 0.5 * torch.rand(count, 3, 1, 1, generator=generator)
    return torch.nn.functional.interpolate(small, (32, 32), mode="bicubic").clamp(0, 1) * tilt


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def moments(images):
    pixels = images.double().flatten(2)
    mean = pixels.mean(2, keepdim=True)
    return mean, (pixels - mean) @ (pixels - mean).transpose(1, 2) / pixels.shape[2]


CHANGES = {change.__name__: change for change in made.DAMAGES} | {"wash": made.wash, "damage": made.damage}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_a_function_of_picture_and_seed(change):
    images = pictures()
    before = images.clone()
    changed = change(images, seeded())
    assert changed.shape == images.shape
    assert bool(changed.isfinite().all())
    assert torch.equal(images, before)
    assert torch.equal(changed, change(images, seeded()))
    assert not torch.equal(changed, change(images, seeded(1)))


def test_damage_leaves_a_third_alone():
    images = pictures(count=600)
    kept = (made.damage(images, seeded()) == images).flatten(1).all(1)
    assert float(kept.float().mean()) == pytest.approx(1 / 3, abs=0.05)


def test_colours_are_transferred_with_their_covariance():
    images, palette = 0.3 + 0.4 * pictures(0), 0.4 + 0.2 * pictures(1)
    for found, wanted in zip(moments(made.transfer_colours(images, palette)), moments(palette), strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)
    # The least change: colours that are right already stay.
    torch.testing.assert_close(made.transfer_colours(images, images.flip(2)), images, atol=1e-3, rtol=0)


def test_a_tint_keeps_the_order_of_tones_and_takes_the_palettes_colours():
    images, palette = pictures(0), pictures(1)
    tinted = made.tint(images, palette)
    assert float((tinted.amax((2, 3)) - palette.amax((2, 3))).max()) < 1e-5
    assert float((tinted.amin((2, 3)) - palette.amin((2, 3))).min()) > -1e-5
    for picture, before in zip(luma(tinted).flatten(1), luma(images).flatten(1), strict=True):
        assert bool((picture[before.argsort()].diff() > -1e-5).all())


def test_a_wash_leaves_the_palette_and_no_stroke():
    strokes = (pictures() + 0.2 * torch.randn(48, 3, 32, 32, generator=seeded())).clamp(0, 1)
    washed = made.wash(strokes, seeded())

    def roughness(images):
        return float(images.diff(dim=3).square().mean())

    assert roughness(washed) < 0.02 * roughness(strokes)
    torch.testing.assert_close(washed.mean((2, 3)), strokes.mean((2, 3)), atol=0.05, rtol=0)


def test_strokes_in_foreign_colours_are_nobodys_and_colours_too_near_do_not_count():
    paintings = pictures(0)
    foreign = (1 - paintings).flip(1)
    found = made.recolour(foreign, paintings)
    changed = (found - paintings).abs().mean((1, 2, 3))
    photographs = (found == foreign).flatten(1).all(1)
    assert bool((changed[~photographs] > made.FOREIGN).all())
    assert 0 < int(photographs.sum()) < len(found)
    near = made.recolour(paintings.flip(3) * 0.98, paintings)
    assert torch.equal(near, paintings.flip(3) * 0.98)  # the photograph itself: its colours would tell nothing


def test_impostors_are_of_every_kind():
    photographs, paintings = pictures(0, 400), pictures(1, 400)
    found = made.impostors(photographs, paintings, seeded())
    assert found.shape == photographs.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(found, made.impostors(photographs, paintings, seeded()))
    untouched = (found == photographs).flatten(1).all(1).float().mean()
    assert 0.08 < float(untouched) < 0.25  # three in ten stay photographs, of which a third stay sound
    assert not bool((found == paintings).flatten(1).all(1).any())


def test_the_blur_keeps_a_flat_picture_and_the_sum_of_a_point():
    flat = torch.full((3, 9, 30), 0.4)
    torch.testing.assert_close(blur(flat, 5.0), flat)
    point = torch.zeros(3, 41, 41)
    point[:, 20, 20] = 1
    smeared = blur(point, 2.0)
    offsets = torch.arange(-6, 7).double()
    kernel = torch.exp(-(offsets**2) / 8)
    kernel /= kernel.sum()
    torch.testing.assert_close(smeared[0, 14:27, 14:27].double(), kernel[:, None] * kernel, atol=1e-6, rtol=0)
