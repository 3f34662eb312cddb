import math

import pytest
import torch

from lightning_modules.losses.contrastive import supervised_contrastive_loss as loss


def draw(n=9, d=4, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return z, torch.randint(classes, (n,), generator=generator)


def slow(z, labels, temperature, base_temperature, anchors=None):
    """Khosla et al., eq. 2, one exponential at a time."""
    unit = [[float(x) / math.sqrt(sum(float(y) ** 2 for y in row)) for x in row] for row in z]
    similarity = [[math.exp(sum(a * b for a, b in zip(u, v, strict=True)) / temperature) for v in unit] for u in unit]
    terms = []
    for i in range(len(z)):
        if anchors is not None and not anchors[i]:
            continue
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        denominator = sum(similarity[i][a] for a in range(len(z)) if a != i)
        logs = [math.log(similarity[i][p] / denominator) for p in positives]
        terms.append(-sum(logs) / len(logs) if logs else 0.0)
    return temperature / base_temperature * sum(terms) / len(terms)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_against_the_slow_formula(temperature, seed):
    z, labels = draw(seed=seed)
    value = loss(z, labels, temperature=temperature, base_temperature=0.07)
    assert abs(float(value) - slow(z, labels, temperature, 0.07)) < 1e-11


def test_some_rows_are_candidates_only():
    z, labels = draw()
    anchors = torch.arange(9) < 4
    assert abs(float(loss(z, labels, anchors=anchors)) - slow(z, labels, 0.07, 0.07, anchors)) < 1e-11


def test_shards_of_anchors_average_to_the_whole():
    z, labels = draw(n=8)
    shards = [loss(z[o : o + 4], labels[o : o + 4], candidates=z, candidate_labels=labels, offset=o) for o in (0, 4)]
    assert abs(float(sum(shards)) / 2 - float(loss(z, labels))) < 1e-12


def test_anchors_without_positives_contribute_nothing():
    z, _ = draw(n=3)
    assert float(loss(z, torch.tensor([0, 1, 2]))) == 0
    pair, alone = loss(z[:2], torch.tensor([0, 0])), loss(z[:1], torch.tensor([0]))
    assert float(pair.abs()) < 1e-12  # nothing to be told apart from
    assert float(alone) == 0


def test_gradients():
    z, labels = draw(n=6)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels, temperature=0.3), (z.requires_grad_(),))
    alone = torch.randn(1, 4, requires_grad=True)
    loss(alone, torch.tensor([0])).backward()
    assert float(alone.grad.abs().max()) == 0


def test_half_precision_survives_a_small_temperature():
    z, labels = draw()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(z.float(), labels, temperature=0.01)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), loss(z, labels, temperature=0.01), rtol=1e-5, atol=1e-5)


def test_candidates_must_contain_the_anchors():
    z, labels = draw()
    with pytest.raises(ValueError, match="come together"):
        loss(z, labels, candidates=z)
    with pytest.raises(ValueError, match="do not contain"):
        loss(z, labels, candidates=z, candidate_labels=labels, offset=1)
