import math

import pytest
import torch
from torch.nn import functional as F

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


def test_gradients():
    rows = [vectors(seed, n=2).requires_grad_() for seed in range(4)]
    assert torch.autograd.gradcheck(directional_clip_loss, rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [None, 0.7])
@pytest.mark.parametrize("still", ["picture", "words", "both", "zeros"])
def test_a_step_of_no_length_costs_1_and_pulls_nowhere(still, threshold, dtype):
    image, source, text, plain = rows = [vectors(seed).to(dtype) for seed in range(4)]
    moving = directional_clip_loss(*rows, threshold)
    if still in {"picture", "both"}:
        image[1] = source[1]
    if still in {"words", "both"}:
        text[1] = plain[1]
    if still == "zeros":  # which have no direction either
        image[1] = source[1] = 0
    for row in rows:
        row.requires_grad_()
    loss = directional_clip_loss(*rows, threshold)
    loss.sum().backward()
    others = [0, 2, 3, 4]
    assert float(loss[1].detach()) == 1
    assert torch.equal(loss[others], moving[others])
    for row in rows:
        assert not row.grad[1].any()
        assert row.grad.isfinite().all()
    if threshold is None:
        assert all(row.grad[others].any(-1).all() for row in rows)


def test_words_of_no_length_stop_all_patches():
    image, source, text = vectors(0).requires_grad_(), vectors(1), vectors(2, n=1)
    loss = directional_clip_loss(image, source, text, text)
    loss.sum().backward()
    assert torch.equal(loss, torch.ones(5, dtype=torch.float64))
    assert not image.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_with_a_length_are_compared_by_the_plain_cosine(dtype):
    image, source, text, plain = (F.normalize(vectors(seed, 50, 32).to(dtype), dim=-1) for seed in range(4))
    rows = [vectors(seed, 50, 32).to(dtype) for seed in range(4)]
    assert torch.equal(directional_clip_loss(*rows), 1 - F.cosine_similarity(image - source, text - plain, dim=-1))


def test_one_text_serves_all_patches():
    image, source = vectors(0), vectors(1)
    text, plain = vectors(2, n=1), vectors(3, n=1)
    expected = directional_clip_loss(image, source, text.expand(5, -1), plain.expand(5, -1))
    assert torch.equal(
        directional_clip_loss(image, source[:1].expand(5, -1), text, plain),
        directional_clip_loss(image, source[:1], text, plain),
    )
    assert torch.equal(directional_clip_loss(image, source, text, plain), expected)
