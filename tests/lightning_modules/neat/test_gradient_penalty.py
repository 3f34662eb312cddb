import pytest
import torch

from lightning_modules.neat.gradient_penalty import r1_penalty


def test_the_penalty_is_that_of_a_score_whose_gradient_is_known():
    """``s_bk = a r_b . p_bk + (c . r_b)^2``: two references' and three patches' gradients by hand."""
    generator = torch.Generator().manual_seed(0)
    reference, patches = (
        torch.randn(2, *shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in ((4,), (3, 4))
    )
    a = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    c = torch.arange(4.0, dtype=torch.float64)
    scores = a * torch.einsum("bd,bkd->bk", reference, patches) + (reference @ c).square()[:, None]
    found = r1_penalty(scores, (reference, patches), weight=0.6)
    expected, slope = 0.0, 0.0
    for b in range(2):
        r, p = reference[b].detach(), patches[b].detach()
        at_reference = 1.3 * p.sum(0) + 3 * 2 * (r @ c) * c
        expected += float(at_reference @ at_reference) / 2 + 3 * 1.3**2 * float(r @ r) / 2
        slope += float(at_reference @ p.sum(0)) + 3 * 1.3 * float(r @ r)
    assert float(found) == pytest.approx(0.25 * 0.6 * expected, rel=1e-12)
    (gradient,) = torch.autograd.grad(found, a)
    assert float(gradient) == pytest.approx(0.25 * 0.6 * slope, rel=1e-12)
