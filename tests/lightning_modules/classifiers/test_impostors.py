"""Pictures that nobody painted: each lacks the palette or the stroke, and a seed gives the same ones."""

import pytest
import torch

from lightning_modules.classifiers import impostors as made
from lightning_modules.classifiers.augmentation import blur
from lightning_modules.networks.edges import luma


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


def test_a_palette_is_as_wide_as_its_painters_colours():
    generator = seeded()
    narrow = torch.tensor([0.6, 0.4, 0.2]) + 0.02 * torch.randn(400, 3, generator=generator)
    wide = torch.rand(400, 3, generator=generator)
    artists = torch.tensor([0, 1]).repeat_interleave(400)
    palettes = made.Palettes.of(torch.cat((narrow, wide)), artists)
    blue = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(2, 3, 8, 8)
    strange, known = palettes.distance(blue, torch.tensor([0, 1])).tolist()
    assert strange > 10 * made.FOREIGN / 3
    assert known < made.FOREIGN / 2
    off = narrow.double() - narrow.double().mean(0)
    expected = (off[:1] @ torch.linalg.inv(off.T @ off / 399 + 1e-4 * torch.eye(3).double()) @ off[:1].T).sqrt()
    found = palettes.distance(narrow[:1, :, None, None].expand(1, 3, 8, 8), artists[:1])
    assert float(found) == pytest.approx(float(expected), rel=1e-3)


def test_strokes_in_colours_that_their_painter_never_takes_are_nobodys_and_others_do_not_count():
    paintings, photographs = pictures(0), pictures(1)
    artists = torch.tensor([0, 1]).repeat(24)
    own = torch.rand(48, 3, generator=seeded(1))
    own[artists == 0] = 0.9 + 0.01 * torch.randn(24, 3, generator=seeded())  # the first painter's are all light
    palettes = made.Palettes.of(own, artists)
    found = made.recolour(photographs, paintings, artists, palettes)
    plain = (found == photographs).flatten(1).all(1)
    assert not bool(plain[artists == 0].any())
    assert bool(plain[artists == 1].all())  # the second paints in all colours, so these tell nothing
    assert torch.equal(found[artists == 0], made.transfer_colours(paintings, photographs)[artists == 0])


def test_impostors_are_of_every_kind():
    photographs, paintings = pictures(0, 400), pictures(1, 400)
    artists = torch.zeros(400, dtype=torch.long)
    palettes = made.Palettes.of(paintings.mean((2, 3)), artists)
    found = made.impostors(photographs, paintings, artists, palettes, seeded())
    assert found.shape == photographs.shape
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(found, made.impostors(photographs, paintings, artists, palettes, seeded()))
    untouched = (found == photographs).flatten(1).all(1).float().mean()
    assert 0.05 < float(untouched) < 0.25  # one in six to one in three stay photographs, of which a third stay sound
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
