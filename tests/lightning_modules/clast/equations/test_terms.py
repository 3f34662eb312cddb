"""Each loss term of a batch, and its gradient, against the equations of conftest.py."""

import pytest
import torch


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({"noise": True, "mixer": "steady"}, True),
        (
            {
                "mixture_fraction": 0.5,
                "skips": 4,
                "noise": True,
                "content_scales": (1, 2),
                "content_layers": ("relu3_1", "relu4_1"),
            },
            True,
        ),
        ({"prototype_shrinkage": 4.0, "content_layers": ("relu4_1",)}, False),
        ({"variant": "paper", "mixer": "mamba1"}, True),
    ],
    ids=["plain", "mixtures", "prototypes", "paper"],
)
def test_every_term_and_its_gradient_are_those_of_the_equations(build, equations, settings, reference):
    clast, data = build(**settings), equations.batch(reference=reference)
    torch.manual_seed(5)
    with equations.noting(clast) as notes:
        fast, pictures = clast.loss_terms(data)
    draws = equations.drawn(clast, data, notes)
    draws = equations.conditioned(clast, data, draws, notes["codes"][: len(data.content)])
    assert len(set(draws.by_text)) == 2, "another seed: both conditions belong into the batch"
    templates = {said.replace(name, "{}") for said, name in zip(draws.sentences, data.prompt, strict=True)}
    assert len(templates) > 1, "another seed: several sentences belong into the batch"
    slow, painted, again = equations.literal_terms(clast, data, draws)
    assert torch.allclose(pictures, torch.cat([*painted, *again]), atol=1e-10)
    assert fast.keys() == slow.keys() == vars(equations.weights).keys()
    for name, term in fast.items():
        assert float(term.detach()) == pytest.approx(float(slow[name].detach()), rel=1e-9), name
        equations.check_equal(equations.gradients(clast, term), equations.gradients(clast, slow[name]), name)
    critic = equations.literal_critic(clast, data, draws, painted)
    found = clast.critic.loss()
    assert float(found.detach()) == pytest.approx(float(critic.detach()), rel=1e-9)
    equations.check_equal(equations.gradients(clast, found), equations.gradients(clast, critic), "critic")
    assert draws.own == [0, 1]
    moved = (draws.warps[1] - draws.warps[0]).abs() / 10  # in halves of a patch
    assert 0.15 < float(moved.max()) <= 0.3  # of a distortion of 0.3
