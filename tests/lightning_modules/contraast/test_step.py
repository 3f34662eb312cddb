"""One training step: first the discriminator against paintings and stylisations, then the generator against it."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_modules.internal_external.settings import LossWeights

RATE = 1e-3
WEIGHTS = LossWeights(
    style=0.9, adversarial=0.8, content=0.7, identity_image=0.6, identity_feature=0.5, style_contrast=0.4,
    content_contrast=0.3,
)  # fmt: skip


def descend(parameters, loss):
    parameters = list(parameters)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= RATE * gradient


def test_a_step_descends_both_losses_in_turn(small, batch, quiet_trainer):
    model, data = small(loss=WEIGHTS).double(), batch()
    data = data._replace(content=data.content.double(), style=data.style.double())
    model.make_optimizer = model.make_discriminator_optimizer = partial(torch.optim.SGD, lr=RATE)
    twin = deepcopy(model)
    trainer = quiet_trainer(max_steps=1, precision="64-true")
    trainer.fit(model, DataLoader([data], batch_size=None))

    painted = twin.paint_batch(data)
    real, fake = (twin.discriminator(pictures) for pictures in (data.style, painted.stylized.detach()))
    loss = sum((score - 1).square().mean() for score in real) + sum(score.square().mean() for score in fake)
    descend(twin.discriminator.parameters(), loss)
    terms = twin.generator_terms(data, painted)
    assert terms.keys() == vars(WEIGHTS).keys() - {"texture", "manner_contrast"}
    total = sum(getattr(WEIGHTS, name) * term for name, term in terms.items())
    descend([p for part in (twin.generator, twin.style_head, twin.content_head) for p in part.parameters()], total)
    for (name, ours), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-12), name
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    expected = {**terms, "total": total, "discriminator": loss}
    assert logged.keys() - {"train/discriminator_accuracy"} == {f"train/{name}" for name in expected}
    for name, term in expected.items():
        assert logged[f"train/{name}"] == pytest.approx(float(term.detach()), rel=1e-5), name


def test_both_networks_follow_the_schedule(small, batch, quiet_trainer):
    model = small()
    model.make_scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(model, DataLoader([batch(2), batch(2)], batch_size=None))
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [0.25e-3] * 2
