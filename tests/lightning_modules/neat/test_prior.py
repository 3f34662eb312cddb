import numpy as np
import pytest
import torch
from skimage import data

from lightning_modules.errors import ImpastoError
from lightning_modules.neat.filters import bilateral_filter, gaussian_blur
from lightning_modules.neat.prior import Colours, PriorSettings, colour_statistics, content_prior, prior_reach, recolour


def photographs(height=60, width=83):
    pictures = (data.astronaut()[:height, 150 : 150 + width], data.coffee()[100 : 100 + height, 200 : 200 + width])
    return torch.stack([torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255 for picture in pictures])


def styles(height=40, width=33, seed=2):
    mixed = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.4
    pixels = torch.rand(2, 3, height * width, generator=torch.Generator().manual_seed(seed + 1))
    return (mixed @ pixels).clamp(0, 1).unflatten(2, (height, width))


def plain_statistics(picture):
    pixels = picture.double().flatten(1).T.numpy()
    return pixels.mean(0), np.cov(pixels, rowvar=False, bias=True)


def plain_recolour(content, style):
    """ARF's formula with square roots from singular values, in double precision."""
    (mean_c, cov_c), (mean_s, cov_s) = plain_statistics(content), plain_statistics(style)
    roots = []
    for covariance, exponent in ((cov_s, 0.5), (cov_c, -0.5)):
        u, values, v = np.linalg.svd(covariance)
        roots.append(u @ np.diag(np.clip(values, 1e-8, 1e8) ** exponent) @ v)
    pixels = content.double().flatten(1).T.numpy()
    moved = (pixels - mean_c) @ (roots[0] @ roots[1]).T + mean_s
    return torch.from_numpy(moved.T.copy()).unflatten(1, content.shape[1:])


def test_statistics_against_numpy():
    pictures = photographs()
    for dtype, tolerance in ((torch.float32, 1e-7), (torch.float64, 1e-15)):
        found = colour_statistics(pictures.to(dtype))
        assert found.mean.dtype == found.covariance.dtype == dtype
        for picture, mean, covariance in zip(pictures, *found, strict=True):
            expected = plain_statistics(picture)
            assert np.abs(mean.numpy() - expected[0]).max() < tolerance
            assert np.abs(covariance.numpy() - expected[1]).max() < tolerance


def test_recolouring_against_the_formula():
    content, style = photographs(), styles()
    ours = recolour(content, colour_statistics(style), clamp=False)
    expected = torch.stack([plain_recolour(c, s) for c, s in zip(content, style, strict=True)])
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-4)
    wide = recolour(content.double(), colour_statistics(style.double()), clamp=False)
    torch.testing.assert_close(wide, expected, rtol=0, atol=1e-12)
    assert float(ours.max()) > 1.01
    assert float(ours.min()) < -0.01
    clamped = recolour(content, colour_statistics(style))
    torch.testing.assert_close(clamped, ours.clamp(0, 1), rtol=0, atol=0)


def test_recoloured_statistics_are_the_styles():
    style = colour_statistics(styles())
    found = colour_statistics(recolour(photographs(), style, clamp=False))
    torch.testing.assert_close(found.mean, style.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.covariance, style.covariance, rtol=0, atol=1e-5)


def test_a_picture_in_its_own_colours_is_itself():
    content = photographs()
    torch.testing.assert_close(recolour(content, colour_statistics(content)), content, rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1.0])
def test_a_single_colour_takes_on_the_mean(value):
    style = colour_statistics(styles())
    flat = torch.full((2, 3, 41, 37), value)
    expected = style.mean[:, :, None, None].expand_as(flat)
    torch.testing.assert_close(recolour(flat, style), expected, rtol=0, atol=1e-6)
    back = recolour(photographs(), colour_statistics(flat))
    torch.testing.assert_close(back, flat[..., :1, :1].expand_as(back), rtol=0, atol=1e-3)  # a deviation of 1e-4 stays


def test_a_grey_picture_takes_on_the_mean_and_stays_on_a_line():
    grey = photographs().mean(1, keepdim=True).expand(2, 3, 60, 83)
    style = colour_statistics(styles())
    ours = recolour(grey, style, clamp=False)
    torch.testing.assert_close(colour_statistics(ours).mean, style.mean, rtol=0, atol=1e-5)
    values = torch.linalg.eigvalsh(colour_statistics(ours.double()).covariance)
    assert float(values[:, :2].abs().max()) < 1e-6 < float(values[:, 2].min())


def test_strength_goes_from_the_content_to_the_recoloured_picture():
    content, style = photographs(), colour_statistics(styles())
    full = recolour(content, style, clamp=False)
    for strength in (0.0, 0.3, 1.0):
        expected = content + strength * (full - content)
        torch.testing.assert_close(
            recolour(content, style, strength=strength, clamp=False), expected, rtol=0, atol=1e-6
        )


def test_one_style_serves_a_batch():
    content, style = photographs(), colour_statistics(styles()[:1])
    both = recolour(content, style)
    torch.testing.assert_close(both[1:], recolour(content[1:], style), rtol=0, atol=1e-7)


def test_prior_is_the_steps_in_their_order():
    content, style = photographs(), colour_statistics(styles())
    recoloured = recolour(content, style)
    expected = bilateral_filter(gaussian_blur(recoloured, 3, 1.4), 12, 100 / 255, 100.0)
    torch.testing.assert_close(content_prior(content, style, settings=PriorSettings()), expected, rtol=0, atol=1e-6)
    turned = content_prior(content, style, settings=PriorSettings(steps=("bilateral", "recolour")))
    torch.testing.assert_close(turned, recolour(bilateral_filter(content), style), rtol=0, atol=1e-6)
    alone = content_prior(content, style, settings=PriorSettings(steps=("recolour",), strength=0.5))
    torch.testing.assert_close(alone, recolour(content, style, strength=0.5), rtol=0, atol=0)
    assert torch.equal(content_prior(content, style, settings=PriorSettings(steps=())), content)


def test_settings_reach_the_filters():
    content, style = photographs(), colour_statistics(styles())
    settings = PriorSettings(
        steps=("gaussian", "bilateral"), gaussian=5, gaussian_sigma=0.9, bilateral=9, sigma_color=51.0, sigma_space=3.0
    )
    expected = bilateral_filter(gaussian_blur(content, 2, 0.9), 4, 0.2, 3.0)
    torch.testing.assert_close(content_prior(content, style, settings=settings), expected, rtol=0, atol=1e-6)
    half = bilateral_filter(gaussian_blur(content, 1, 0.45), 2, 0.2, 1.5)
    torch.testing.assert_close(content_prior(content, style, settings=settings, blur=0.5), half, rtol=0, atol=1e-6)


def test_blur_goes_from_nothing_to_twice_the_setting():
    content, style = photographs(40, 50), colour_statistics(styles())
    settings = PriorSettings()
    results = [content_prior(content, style, settings=settings, blur=blur) for blur in (0, 0.25, 0.5, 1, 1.5, 2)]
    assert torch.equal(results[0], recolour(content, style))
    distances = [float((result - results[0]).abs().mean()) for result in results]
    assert distances == sorted(set(distances))
    with pytest.raises(ValueError, match="blur"):
        content_prior(content, style, settings=settings, blur=-0.1)


def test_a_tile_with_its_surroundings_is_a_part_of_the_whole():
    content, style = photographs(90, 97).double(), colour_statistics(styles().double())
    settings, own = PriorSettings(), colour_statistics(content)
    for blur in (1.0, 1.3):
        whole = content_prior(content, style, settings=settings, blur=blur)
        reach = prior_reach(settings, blur)
        tile = content[..., 30 - reach : 50 + reach, 40 - reach : 55 + reach]
        part = content_prior(tile, style, settings=settings, blur=blur, own=own)[..., reach:-reach, reach:-reach]
        torch.testing.assert_close(part, whole[..., 30:50, 40:55], rtol=0, atol=1e-12)
        nearer = content_prior(tile[..., 1:-1, 1:-1], style, settings=settings, blur=blur, own=own)
        nearer = nearer[..., reach - 1 : 1 - reach, reach - 1 : 1 - reach]
        assert float((nearer - whole[..., 30:50, 40:55]).abs().max()) > 1e-9  # the reach is as small as it can be


def test_half_precision_autocast_and_gradients():
    content, style = photographs(), styles()
    settings = PriorSettings()
    expected = content_prior(content, colour_statistics(style), settings=settings)
    with torch.autocast("cpu", torch.bfloat16):
        ours = content_prior(content, colour_statistics(style), settings=settings)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    half = content_prior(content.bfloat16(), colour_statistics(style.bfloat16()), settings=settings)
    assert half.dtype == torch.float32
    again = content_prior(content.bfloat16().float(), colour_statistics(style.bfloat16().float()), settings=settings)
    torch.testing.assert_close(half, again, rtol=0, atol=0)
    leaf = content.clone().requires_grad_()
    assert not content_prior(leaf, colour_statistics(leaf), settings=settings).requires_grad
    assert not recolour(leaf, colour_statistics(leaf)).requires_grad
    assert torch.equal(content, photographs())  # nothing is written into the input
    assert float(expected.min()) >= 0
    assert float(expected.max()) <= 1


@pytest.mark.parametrize(
    "bad",
    [{"gaussian": 6}, {"bilateral": 0}, {"sigma_color": 0.0}, {"gaussian_sigma": -1.0}, {"strength": 1.5}],
)
def test_settings_that_make_no_prior_are_refused(bad):
    with pytest.raises(ImpastoError, match="give"):
        PriorSettings(**bad)


def test_colours_between_two_pictures_are_colours():
    ours, theirs = colour_statistics(photographs()), colour_statistics(styles())
    between = Colours(*(torch.lerp(a, b, 0.5) for a, b in zip(ours, theirs, strict=True)))
    found = colour_statistics(recolour(photographs(), between, clamp=False))
    torch.testing.assert_close(found.covariance, between.covariance, rtol=0, atol=1e-5)
