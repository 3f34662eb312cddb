import pytest
import torch

from lightning_modules.losses.adversarial import hinge_discriminator, hinge_generator


def scores(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


def test_the_generator_raises_the_mean_score_of_every_head_alike():
    fake = scores((2, 3), (4,))
    loss = hinge_generator(fake)
    assert float(loss.detach()) == pytest.approx(-sum(float(s.detach().mean()) for s in fake) / 2)
    loss.backward()
    assert torch.allclose(fake[0].grad, torch.full((2, 3), -1 / 12, dtype=torch.float64))


def test_the_discriminator_is_the_hinge_and_both_kinds_of_fakes_count_the_same():
    real, fake = scores((2, 3), (4,)), scores((2, 3), (4,), seed=1)
    foreign = scores((2, 2, 3, 1), (2, 2, 1, 5), seed=2)
    weight = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    total = 0.0
    for head in range(2):
        own = [max(0.0, 1 - x) for x in real[head].flatten().tolist()]
        made = [max(0.0, 1 + x) for x in fake[head].flatten().tolist()]
        other = 0.0
        for i, j, share in ((0, 1, 1 / 3), (1, 0, 2 / 3)):
            pair = [max(0.0, 1 + x) for x in foreign[head][i, j].flatten().tolist()]
            other += share * sum(pair) / len(pair)
        total += sum(own) / len(own) + (sum(made) / len(made) + other) / 2
    assert float(hinge_discriminator(real, fake, foreign, weight).detach()) == pytest.approx(total / 2)


def test_a_kind_of_which_nothing_counts_is_left_out():
    real, fake, foreign = scores((5,)), scores((5,), seed=1), scores((2, 2, 3), seed=2)
    assert torch.equal(hinge_discriminator(real, fake, foreign, torch.zeros(2, 2)), hinge_discriminator(real, fake))


def test_who_knows_nothing_pays_two():
    nothing = [torch.zeros(2, 2, 3)]
    assert float(hinge_discriminator(nothing, nothing, nothing, torch.ones(2, 2))) == 2.0


def test_half_precision_is_averaged_in_float32():
    assert hinge_generator([torch.ones(2, dtype=torch.bfloat16)]).dtype == torch.float32
    ones = [torch.ones(2, dtype=torch.bfloat16)]
    assert hinge_discriminator(ones, ones).dtype == torch.float32
