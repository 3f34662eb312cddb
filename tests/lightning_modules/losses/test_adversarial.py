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


def test_the_discriminator_is_the_hinge_and_kinds_of_fakes_count_the_same():
    real, fake, foreign = (scores((2, 3), (4,), seed=seed) for seed in range(3))
    total = 0.0
    for head in range(2):
        kinds = [[max(0.0, 1 + x) for x in kind[head].flatten().tolist()] for kind in (fake, foreign)]
        own = [max(0.0, 1 - x) for x in real[head].flatten().tolist()]
        total += sum(own) / len(own) + sum(sum(kind) / len(kind) for kind in kinds) / 2
    assert float(hinge_discriminator(real, fake, foreign).detach()) == pytest.approx(total / 2)


def test_an_empty_kind_is_left_out():
    real, fake = scores((5,)), scores((5,), seed=1)
    with_none = hinge_discriminator(real, fake, [torch.empty(0, dtype=torch.float64)])
    assert torch.equal(with_none, hinge_discriminator(real, fake))


def test_who_knows_nothing_pays_two():
    assert float(hinge_discriminator([torch.zeros(3)], [torch.zeros(3)], [torch.zeros(2)])) == 2.0


def test_half_precision_is_averaged_in_float32():
    assert hinge_generator([torch.ones(2, dtype=torch.bfloat16)]).dtype == torch.float32
    ones = [torch.ones(2, dtype=torch.bfloat16)]
    assert hinge_discriminator(ones, ones).dtype == torch.float32
