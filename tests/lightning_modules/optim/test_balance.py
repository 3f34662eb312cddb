import pytest
import torch

from lightning_modules.optim.balance import LARGEST, GradientBalance


def terms_of(image):
    return {
        "content": 3.0 * image.square().mean(),
        "style": 0.01 * image.exp().sum(),
        "clip": 500.0 * image.sin().mean(),
    }


def test_norms_are_those_of_plain_autograd_and_parameters_are_left_alone():
    image = torch.randn(2, 3, 4, 4, requires_grad=True)
    norms = GradientBalance(("content", "style", "clip")).measure(terms_of(image), image)
    assert image.grad is None
    for position, name in enumerate(("content", "style", "clip")):
        again = image.detach().clone().requires_grad_()
        terms_of(again)[name].backward()
        assert torch.allclose(norms[position], again.grad.norm())


def test_scaled_gradients_stand_in_the_ratios_asked_for():
    torch.manual_seed(0)
    balance = GradientBalance(("content", "style", "clip"))
    wanted = {"content": 1.0, "style": 2.0, "clip": 0.5}
    image = torch.randn(2, 3, 4, 4, requires_grad=True)
    terms = terms_of(image)
    balance.update(balance.measure(terms, image))
    norms = {}
    for name, ratio in wanted.items():
        (gradient,) = torch.autograd.grad(ratio * balance.scale(name) * terms[name], image, retain_graph=True)
        norms[name] = float(gradient.norm())
    (natural,) = torch.autograd.grad(terms["content"], image)
    assert norms["content"] == pytest.approx(float(natural.norm()))  # the first term keeps its size
    assert norms["style"] / norms["content"] == pytest.approx(2.0)
    assert norms["clip"] / norms["content"] == pytest.approx(0.5)


def test_measurements_are_averaged():
    balance = GradientBalance(("a", "b"))
    rows = torch.tensor([[1.0, 4.0], [2.0, 1.0], [6.0, 1.0]])
    for row in rows:
        balance.update(row)
    assert torch.allclose(balance.norms, rows.mean(0))
    assert float(balance.scale("b")) == pytest.approx(1.5)


def test_terms_that_nobody_measured_are_taken_as_they_are():
    balance = GradientBalance(("a", "b"))
    assert balance.scale("a") == balance.scale("b") == balance.scale("tv") == 1.0
    balance.update(torch.tensor([1.0, 2.0]))
    assert balance.scale("tv") == 1.0


def test_a_term_without_gradient_does_not_come_back_as_the_only_one():
    balance = GradientBalance(("a", "b", "c"))
    balance.update(torch.tensor([2.0, 0.0, 1.0]))
    assert float(balance.scale("b")) == LARGEST
    assert float(balance.scale("c")) == 2.0


def test_a_unit_without_gradient_leaves_the_terms_as_they_are():
    balance = GradientBalance(("a", "b"))
    balance.update(torch.tensor([0.0, 3.0]))
    assert float(balance.scale("a")) == float(balance.scale("b")) == 1.0


def test_it_measures_at_its_interval_until_its_end():
    balance = GradientBalance(("a",), every=5, until=12)
    assert [i for i in range(30) if balance.due(i)] == [0, 5, 10]
    assert not any(GradientBalance(("a",), until=0).due(i) for i in range(30))


def test_what_was_measured_travels_in_the_state_dict():
    balance, other = GradientBalance(("a", "b")), GradientBalance(("a", "b"))
    balance.update(torch.tensor([1.0, 2.0]))
    other.load_state_dict(balance.state_dict())
    assert other.measurements == 1
    assert other.scale("b") == balance.scale("b") == 0.5
    for each in (balance, other):
        each.update(torch.tensor([3.0, 4.0]))
    assert torch.equal(other.norms, balance.norms)
