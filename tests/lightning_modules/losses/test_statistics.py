import pytest
import torch

from lightning_modules.losses.content import content_loss
from lightning_modules.losses.statistics import channel_statistics, normalize_channels
from lightning_modules.losses.style import style_loss
from lightning_modules.losses.total_variation import total_variation


def maps(seed, channels=3, height=5, width=4, batch=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64) * 3 + 1


def slow_statistics(channel, eps):
    values = [float(v) for v in channel.flatten()]
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, (variance + eps) ** 0.5


def test_statistics_against_a_loop():
    features = maps(0)
    mean, std = channel_statistics(features)
    for sample in range(2):
        for channel in range(3):
            slow_mean, slow_std = slow_statistics(features[sample, channel], 1e-5)
            assert abs(float(mean[sample, channel]) - slow_mean) < 1e-12
            assert abs(float(std[sample, channel]) - slow_std) < 1e-12


def test_gradients_of_the_statistics_are_those_of_torchs_own():
    features = maps(3).requires_grad_()
    assert torch.autograd.gradcheck(channel_statistics, features)
    mean, std = channel_statistics(features)
    expected = [features.mean((2, 3), keepdim=True), (features.var((2, 3), keepdim=True) + 1e-5).sqrt()]
    weights = [torch.rand_like(mean), torch.rand_like(mean)]
    ours, theirs = (
        torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, pair, strict=True)), features)[0]
        for pair in ([mean, std], expected)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(channel_statistics(features.detach())[1], std.detach(), rtol=0, atol=0)


def test_normalised_channels_have_no_style():
    mean, std = channel_statistics(normalize_channels(maps(1), eps=0.0), eps=0.0)
    assert float(mean.abs().max()) < 1e-12
    assert float((std - 1).abs().max()) < 1e-12


def test_constant_channels_have_finite_gradients():
    features = torch.full((1, 2, 3, 3), 0.5, requires_grad=True)
    normalize_channels(features).square().sum().backward()
    assert torch.isfinite(features.grad).all()
    assert float(normalize_channels(features.detach()).abs().max()) == 0


def test_a_single_pixel_is_refused():
    with pytest.raises(ValueError, match="single-pixel"):
        channel_statistics(torch.zeros(1, 2, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    features = (torch.randn(1, 2, 8, 8) + 100).to(dtype)
    mean, std = channel_statistics(features)
    assert mean.dtype == std.dtype == torch.float32
    torch.testing.assert_close(std, channel_statistics(features.double())[1].float())


def test_content_loss_against_a_loop():
    features, target = ({"a": maps(s), "b": maps(s + 1, channels=2)} for s in (0, 2))
    total = 0.0
    for layer in ("a", "b"):
        squares = []
        for f, t in zip(features[layer].flatten(0, 1), target[layer].flatten(0, 1), strict=True):
            (fm, fs), (tm, ts) = slow_statistics(f, 1e-5), slow_statistics(t, 1e-5)
            pairs = zip(f.flatten(), t.flatten(), strict=True)
            squares += [((float(x) - fm) / fs - (float(y) - tm) / ts) ** 2 for x, y in pairs]
        total += sum(squares) / len(squares)
    assert abs(float(content_loss(features, target, ("a", "b"))) - total / 2) < 1e-12


def test_content_loss_ignores_what_style_changes():
    features = {"a": maps(0)}
    restyled = {"a": features["a"] * 7 - 2}
    assert float(content_loss(features, features, ("a",))) == 0
    assert float(content_loss(features, restyled, ("a",), eps=0.0)) < 1e-20


def test_style_loss_against_a_loop():
    features, target = {"a": maps(0), "b": maps(1, channels=2)}, {"a": maps(2, width=9), "b": maps(3, channels=2)}
    total = 0.0
    for layer in ("a", "b"):
        means, stds = [], []
        for f, t in zip(features[layer].flatten(0, 1), target[layer].flatten(0, 1), strict=True):
            (fm, fs), (tm, ts) = slow_statistics(f, 1e-5), slow_statistics(t, 1e-5)
            means.append((fm - tm) ** 2)
            stds.append((fs - ts) ** 2)
        total += sum(means) / len(means) + sum(stds) / len(stds)
    assert abs(float(style_loss(features, target)) - total) < 1e-12
    given = {name: channel_statistics(value) for name, value in target.items()}
    assert float(style_loss(features, given)) == float(style_loss(features, target))
    assert float(style_loss(target, target)) == 0


def test_total_variation_against_a_loop():
    images = maps(0)
    across = [
        float((images[b, c, y, x + 1] - images[b, c, y, x]) ** 2)
        for b in range(2)
        for c in range(3)
        for y in range(5)
        for x in range(3)
    ]
    down = [
        float((images[b, c, y + 1, x] - images[b, c, y, x]) ** 2)
        for b in range(2)
        for c in range(3)
        for y in range(4)
        for x in range(4)
    ]
    expected = sum(across) / len(across) + sum(down) / len(down)
    assert abs(float(total_variation(images)) - expected) < 1e-12
    with pytest.raises(ValueError, match="two pixels"):
        total_variation(torch.zeros(1, 3, 1, 4))


def test_gradients():
    features, target = (maps(s, channels=2, height=3, width=2).requires_grad_() for s in (0, 1))
    assert torch.autograd.gradcheck(lambda f, t: content_loss({"a": f}, {"a": t}, ("a",)), (features, target))
    assert torch.autograd.gradcheck(lambda f, t: style_loss({"a": f}, {"a": t}), (features, target))
    assert torch.autograd.gradcheck(total_variation, (features,))
