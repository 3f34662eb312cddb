import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, sobel
from scipy.spatial import cKDTree

from lightning_modules.errors import ImpastoError
from metrics.functional.halo import edge_bands, halo_profile, style_halo

SIDE = 96


def border(count=1, side=SIDE, width=8):
    """A white bar along the left border of a black picture: one edge, and far from it nothing."""
    content = torch.zeros(count, 3, side, side)
    content[..., :width] = 1
    return content


def noise(count=1, side=SIDE, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) - 0.5


def textured(strength, amplitude=0.4, seed=0):
    """Grey with noise that is ``strength`` times as strong near the edge of `border` as far from it."""
    where = torch.ones(SIDE)
    where[:27] = strength  # between what a window of the near places and one of the far ones reaches
    return 0.5 + amplitude * noise(seed=seed) * where


def profile_of(picture, content, edge=0.03):
    """The definition, in float64: scipy's filters on a padded picture, and a search tree of the edges."""
    height, width = content.shape[1:]
    unit = max(1, min(height, width) / 192)
    limits = [unit * limit for limit in (8, 12, 16, 20, 28, 40)]
    luma = np.pad(np.tensordot([0.299, 0.587, 0.114], content, 1), 9, mode="edge")
    smooth = gaussian_filter(luma, 1.0, radius=3)
    slope = np.hypot(sobel(smooth, 0) / 8, sobel(smooth, 1) / 8)[9:-9, 9:-9]
    edges = cKDTree(np.argwhere(slope > edge))
    energy = np.mean([(channel - gaussian_filter(channel, 2.0, radius=4)) ** 2 for channel in picture], axis=0)
    places = np.stack(np.mgrid[4 : height - 4, 4 : width - 4], axis=-1).reshape(-1, 2)
    places = places[edges.query(places, p=np.inf)[0] > 4]
    band = np.sum(edges.query(places)[0][:, None] > limits, axis=1)
    return [energy[tuple(places[band == number].T)] for number in range(7)]


def level(parts, least):
    values = np.concatenate(parts)
    return math.log(values.mean() + 1 / 255**2) if len(values) >= least else math.nan


def disc(height, width):
    y, x = np.mgrid[:height, :width]
    return (np.hypot(y - 10, x - 12) < 7) * np.array([0.9, 0.2, 0.6])[:, None, None] * np.ones((3, 1, 1))


@pytest.mark.parametrize(("height", "width"), [(48, 61), (200, 210)])
def test_it_is_the_definition(height, width):
    rng = np.random.default_rng(height)
    content = np.clip(disc(height, width) + 0.01 * rng.random((3, height, width)), 0, 1)
    picture, truth = (rng.random((3, height, width)) for _ in range(2))
    truth[:, :24] *= 0.5
    pictures = [torch.from_numpy(each)[None].float() for each in (picture, content, truth)]
    least = 0.005 * height * width
    sides = [profile_of(side[0].double().numpy(), pictures[1][0].double().numpy()) for side in pictures[::2]]
    ratios = [level(bands[4:], least) - level(bands[:2], least) for bands in sides]
    assert all(math.isfinite(ratio) for ratio in ratios)
    assert float(style_halo(*pictures[:2])) == pytest.approx(ratios[0], abs=1e-9)
    assert float(style_halo(*pictures)) == pytest.approx(ratios[0] - ratios[1], abs=1e-9)
    curves = [np.array([level([part], least) for part in bands]) - level(bands, least) for bands in sides]
    assert float(style_halo(*pictures[:2], form="profile")) == pytest.approx(np.nanmean(abs(curves[0])), abs=1e-9)
    expected = np.nanmean(abs(curves[0] - curves[1]))
    assert float(style_halo(*pictures, form="profile")) == pytest.approx(expected, abs=1e-9)
    profile = halo_profile(pictures[0], edge_bands(pictures[1]))
    assert profile.pixels[0].tolist() == [len(part) for part in sides[0]]
    np.testing.assert_allclose(profile.curve()[0], curves[0], atol=1e-9)


def test_one_texture_everywhere_has_no_halo():
    found = style_halo(0.5 + 0.4 * noise(8), border(8))
    assert float(found.abs().max()) < 0.1
    assert abs(float(found.mean())) < 0.03
    assert float(style_halo(0.5 + 0.4 * noise(8), border(8), form="profile").max()) < 0.1


def test_a_halo_of_known_strength_is_found_and_a_plainer_band_is_above_0():
    plain = float(style_halo(textured(1), border()))
    found = {strength: float(style_halo(textured(strength), border())) - plain for strength in (0.25, 0.5, 0.8, 1.2)}
    for strength, value in found.items():
        assert value == pytest.approx(-2 * math.log(strength), abs=0.03)
    assert sorted(found.values(), reverse=True) == list(found.values())
    gaps = [float(style_halo(textured(strength), border(), form="profile")) for strength in (0.25, 0.5, 0.8, 1)]
    assert sorted(gaps, reverse=True) == gaps


def test_contrast_and_colour_of_the_texture_do_not_matter():
    strong, weak = (style_halo(textured(0.5, amplitude), border()) for amplitude in (0.8, 0.2))
    torch.testing.assert_close(strong, weak, atol=0.03, rtol=0)
    dots = textured(0.5)
    dots[:, 2] = 1 - dots[:, :2].mean(1)  # hardly any luma
    assert float(style_halo(dots, border())) == pytest.approx(-2 * math.log(0.5), abs=0.15)


def test_the_edge_itself_is_no_texture():
    content = torch.from_numpy(disc(64, 96)).float()[None]
    assert float(style_halo(content, content)) == 0
    assert float(style_halo(content, content, form="profile")) == 0
    picture = 0.5 * content + 0.2 + 0.2 * noise(1)[..., :64, :]
    bare = 0.2 + 0.2 * noise(1)[..., :64, :]
    torch.testing.assert_close(style_halo(picture, content), style_halo(bare, content), atol=1e-5, rtol=0)


def test_what_the_painter_does_himself_is_no_halo():
    painter, other = textured(0.5), textured(0.25, seed=1)
    assert float(style_halo(painter, border(), painter)) == 0
    assert float(style_halo(painter, border(), painter, form="profile")) == 0
    excess = style_halo(other, border(), painter)
    assert float(excess) == pytest.approx(2 * math.log(2), abs=0.1)
    torch.testing.assert_close(excess, style_halo(other, border()) - style_halo(painter, border()))
    torch.testing.assert_close(style_halo(painter, border(), other), -excess)


def test_contents_without_edges_or_without_flat_parts_have_no_value():
    near_only = torch.zeros(1, 3, SIDE, SIDE)
    near_only[..., ::30] = 1
    everywhere = 0.5 + noise()
    slope = torch.linspace(0, 1, SIDE).expand(1, 3, SIDE, SIDE)
    contents = torch.cat([torch.full((1, 3, SIDE, SIDE), 0.5), slope, everywhere, near_only, border()])
    found = style_halo(0.5 + 0.4 * noise(5), contents)
    assert found.isnan().tolist() == [True, True, True, True, False]
    assert style_halo(contents, contents, form="profile").isnan().tolist() == [True, True, True, True, False]
    assert bool((edge_bands(contents[:2]) == -1).all())


def test_distances_grow_with_the_picture_from_192_pixels_on():
    rows = {side: edge_bands(border(side=side, width=1))[0, side // 2] for side in (96, 192, 384)}
    assert torch.equal(rows[96], rows[192][:88])
    ends = {side: [int((row <= band).sum()) for band in range(6)] for side, row in rows.items()}
    assert [b - a for a, b in zip(ends[192], ends[192][1:], strict=False)] == [4, 4, 4, 8, 12]
    assert [b - a for a, b in zip(ends[384], ends[384][1:], strict=False)] == [8, 8, 8, 16, 24]


def test_a_batch_is_its_pictures_and_bytes_are_pictures():
    pictures = torch.cat([textured(0.5), textured(2, 0.2, seed=1)])
    contents = torch.cat([border(), border(width=20)])
    singles = [style_halo(pictures[n : n + 1], contents[n : n + 1]) for n in range(2)]
    assert torch.equal(style_halo(pictures, contents), torch.cat(singles))
    sides = [(side * 255).round().byte() for side in (pictures, contents)]
    assert torch.equal(style_halo(*sides), style_halo(*(side.float() / 255 for side in sides)))


def test_a_higher_slope_leaves_weaker_edges_out():
    content = border()
    content[..., 60:] += 0.2
    weak = edge_bands(content)[0, 40]
    assert not torch.equal(weak, edge_bands(content, 0.1)[0, 40])
    assert torch.equal(edge_bands(border(), 0.1)[0, 40], edge_bands(content, 0.1)[0, 40])


def test_what_is_refused():
    picture = 0.5 + noise()
    for arguments, words in [
        ((picture, border(side=64)), "stylized and content pictures differ in shape"),
        ((picture, border(), picture[..., :64]), "true and content pictures differ in shape"),
        ((picture[..., :31], border()[..., :31]), "content pictures must be at least 32 pixels a side"),
        ((picture + 1, border()), r"measured pictures must lie in \[0, 1\]"),
        ((picture, border() - 1), r"content pictures must lie in \[0, 1\]"),
    ]:
        with pytest.raises(ImpastoError, match=words):
            style_halo(*arguments)
    for edge in (0, -1, math.inf, math.nan):
        with pytest.raises(ImpastoError, match="finite slope above 0"):
            style_halo(picture, border(), edge=edge)
    with pytest.raises(ImpastoError, match="no form of the halo 'sum': take one of ratio, profile"):
        style_halo(picture, border(), form="sum")
    with pytest.raises(ImpastoError, match="those of other contents"):
        halo_profile(picture, edge_bands(border(side=64)))
