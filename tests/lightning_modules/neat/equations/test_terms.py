"""The fast step against the paper's equations written out."""

import pytest
import torch

from lightning_modules.neat.patch_pair import PatchSettings

PATCHES = {"size": 8, "windows": 6, "each": 2, "scales": (0.2, 0.4), "width": 3, "max_channels": 5, "hidden": 8}
DEEP = ("relu4_1", "relu5_1", "relu4_1")


def gradients(model, total):
    model.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("variant", "half", "levels", "guide"),
    [
        ("reference", 2, ("relu4_1", "relu4_1"), "content"),
        ("paper", 2, DEEP, "stylized"),
        ("reference", 3, ("relu4_1",), "none"),
        ("paper", 3, ("relu4_1",), "content"),
    ],
)
def test_losses_and_gradients_are_those_of_the_equations(small, batch, drawn, equations, variant, half, levels, guide):
    patches = PatchSettings(**PATCHES, guide=guide)
    model, data = small(variant=variant, levels=levels, patches=patches).double(), batch(half, dtype=torch.float64)
    painted = model.paint_batch(data)
    fast = model.generator_terms(data, painted)
    pairs, pictures = equations.pictures(model, data)
    assert torch.allclose(painted.stylized, torch.cat(pictures), rtol=0, atol=1e-9)
    assert len(drawn) == 3
    slow = equations.terms(model, data, pairs, pictures, drawn)
    assert fast.keys() == slow.keys()
    for name in fast:
        assert float(fast[name]) == pytest.approx(float(slow[name]), rel=1e-8), name
    weights = vars(model.loss)
    found, expected = (
        gradients(model, sum(weights[name] * term for name, term in terms.items())) for terms in (fast, slow)
    )
    assert found.keys() == expected.keys()
    # Some true gradients are 0, such as those of biases before a norm: what is left there is rounding.
    rounding = 1e-10 * max(float(gradient.norm()) for gradient in expected.values())
    for name, gradient in expected.items():
        difference = float((found[name] - gradient).norm())
        assert difference <= 1e-7 * float(gradient.norm()) + rounding, name


def test_without_a_prior_the_decoder_paints_everything(small, batch, equations):
    model, data = small(prior_weight=0.0).double(), batch(2, dtype=torch.float64)
    painted = model.paint_batch(data)
    _, pictures = equations.pictures(model, data)
    assert torch.allclose(painted.stylized, torch.cat(pictures), rtol=0, atol=1e-9)
    plain = small(prior_weight=0.5).double().paint_batch(data)
    prior = equations.prior(model.prior, data.content[1:2], data.style[:1])  # content 1 meets style 0 in place 2
    assert torch.allclose(plain.stylized[2:3] - painted.stylized[2:3], 0.5 * prior, rtol=0, atol=1e-9)
