import math

import torch

from lightning_modules.losses.directional_clip import directional_clip_loss


def vectors(seed, n=5, d=4):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(image, source_image, text, source_text):
    def unit(v):
        return [float(x) / math.sqrt(sum(float(y) ** 2 for y in v)) for x in v]

    step = [a - b for a, b in zip(unit(image), unit(source_image), strict=True)]
    words = [a - b for a, b in zip(unit(text), unit(source_text), strict=True)]
    dot = sum(a * b for a, b in zip(step, words, strict=True))
    return 1 - dot / math.sqrt(sum(a * a for a in step) * sum(a * a for a in words))


def test_against_the_slow_formula():
    rows = [vectors(seed) for seed in range(4)]
    value = directional_clip_loss(*rows)
    for i in range(5):
        assert abs(float(value[i]) - slow(*(row[i] for row in rows))) < 1e-12


def test_easy_patches_count_as_nothing():
    rows = [vectors(seed) for seed in range(4)]
    plain, cut = directional_clip_loss(*rows), directional_clip_loss(*rows, threshold=0.9)
    assert 0 < int((cut == 0).sum()) < 5
    assert torch.equal(cut[cut > 0], plain[plain >= 0.9])


def test_gradients_also_without_a_step():
    rows = [vectors(seed, n=2).requires_grad_() for seed in range(4)]
    assert torch.autograd.gradcheck(directional_clip_loss, rows)
    still = torch.randn(1, 4, requires_grad=True)
    directional_clip_loss(still, still.detach(), torch.randn(1, 4), torch.randn(1, 4)).sum().backward()
    assert torch.isfinite(still.grad).all()


def test_one_text_serves_all_patches():
    image, source = vectors(0), vectors(1)
    text, plain = vectors(2, n=1), vectors(3, n=1)
    expected = directional_clip_loss(image, source, text.expand(5, -1), plain.expand(5, -1))
    assert torch.equal(
        directional_clip_loss(image, source[:1].expand(5, -1), text, plain),
        directional_clip_loss(image, source[:1], text, plain),
    )
    assert torch.equal(directional_clip_loss(image, source, text, plain), expected)
