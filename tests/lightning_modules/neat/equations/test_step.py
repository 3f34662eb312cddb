"""Training steps against the equations: the discriminator's, the generator's, the patch discriminators'."""

from copy import deepcopy
from functools import cache, partial

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_modules.neat import patch_pair
from lightning_modules.neat.settings import LossWeights

RATE = 1e-3
WEIGHTS = LossWeights(
    style=0.9, adversarial=0.8, content=0.7, identity_image=0.6, identity_feature=0.5, style_contrast=0.4,
    content_contrast=0.3, patch_simple=0.2, patch_complex=0.1,
)  # fmt: skip


def descend(parameters, loss):
    parameters = list(parameters)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= RATE * gradient


@pytest.fixture
def slow_learner(small):
    """Return a function that builds a model whose every optimiser is plain descent."""

    def build(**settings):
        model = small(loss=WEIGHTS, **settings).double()
        sgd = partial(torch.optim.SGD, lr=RATE)
        model.make_optimizer = model.make_discriminator_optimizer = model.make_patch_optimizer = sgd
        return model

    return build


def test_steps_descend_the_losses_in_turn_and_the_penalty_every_second_time(
    slow_learner, batch, drawn, equations, quiet_trainer
):
    model, data, steps = slow_learner(), [batch(2, seed=n, dtype=torch.float64) for n in (1, 2)], 2
    twin, before = deepcopy(model), deepcopy(model)
    trainer = quiet_trainer(max_steps=steps, precision="64-true")
    trainer.fit(model, DataLoader(data, batch_size=None))
    assert len(drawn) == 3 * steps
    for step, pictures in enumerate(data):
        windows = drawn[3 * step : 3 * step + 3]
        pairs, painted = equations.pictures(twin, pictures)
        domain = equations.domain_loss(twin, pictures, painted)
        descend(twin.discriminator.parameters(), domain)
        terms = equations.terms(twin, pictures, pairs, painted, windows)
        shown = equations.show(twin, pictures, pairs, painted, windows)
        total = sum(getattr(WEIGHTS, name) * term for name, term in terms.items())
        descend([p for part in (twin.generator, twin.style_head, twin.content_head) for p in part.parameters()], total)
        patches = equations.patch_loss(twin, shown, penalised=step % model.patches.settings.r1_every == 0)
        descend(twin.patches.parameters(), patches)
    pairs = list(zip(model.named_parameters(), twin.parameters(), before.parameters(), strict=True))
    rounding = 1e-9 * max(float((expected - start).norm()) for _, expected, start in pairs)
    for (name, ours), expected, start in pairs:
        moved, away = float((expected - start).norm()), float((ours - expected).norm())
        assert away <= 1e-5 * moved + rounding, (name, away, moved)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    expected = {**terms, "total": total, "discriminator": domain, "patches": patches}
    assert logged.keys() - {"train/discriminator_accuracy"} == {f"train/{name}" for name in expected}
    for name, term in expected.items():
        assert logged[f"train/{name}"] == pytest.approx(float(term.detach()), rel=1e-5), name


def test_patches_are_balanced_against_the_other_terms(slow_learner, batch, quiet_trainer, monkeypatch):
    monkeypatch.setattr(patch_pair, "draw_windows", cache(patch_pair.draw_windows))
    model, data = slow_learner(balance_every=1), batch(2, dtype=torch.float64)
    twin = deepcopy(model)
    trainer = quiet_trainer(max_steps=1, precision="64-true")
    trainer.fit(model, DataLoader([data], batch_size=None))
    painted = twin.paint_batch(data)
    terms = twin.generator_terms(data, painted)
    norms = {
        name: float(torch.autograd.grad(terms[name], painted.stylized, retain_graph=True)[0].norm())
        for name in ("content", "patch_simple", "patch_complex")
    }
    for name, norm in norms.items():
        weight = getattr(WEIGHTS, name) * norms["content"] / norm
        assert float(trainer.callback_metrics[f"weight/{name}"]) == pytest.approx(weight, rel=1e-5), name
