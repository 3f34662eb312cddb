"""AdaIN's step against its equations, written out in float64 one picture at a time."""

from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_modules.adain import AdaIN
from lightning_modules.adain.settings import LossWeights
from lightning_modules.types import StyleBatch

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
WEIGHTS = LossWeights(content=0.7, style=3.0)
RATE = 1e-3


@pytest.fixture
def build(small_encoder):
    def make(**settings):
        torch.manual_seed(0)
        return AdaIN(partial(torch.optim.SGD, lr=RATE), weights="random", **settings).double()

    return make


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    content, style = torch.rand(2, 2, 3, 48, 64, dtype=torch.float64, generator=generator)
    return StyleBatch(content, style, torch.arange(2), ["a", "b"], torch.arange(2))


def moments(maps):
    values = maps.flatten(1)
    return values.mean(1), (values.var(1) + 1e-5).sqrt()


def adain(content, style):
    (mean, std), (goal_mean, goal_std) = moments(content), moments(style)
    return (
        ((content.T - mean) / std * goal_std + goal_mean).T
        if content.ndim == 2
        else torch.stack([(content[c] - mean[c]) / std[c] * goal_std[c] + goal_mean[c] for c in range(len(content))])
    )


def literal_terms(model, batch):
    """Return eq. 12 and eq. 13 of a model without skips, averaged over the pictures of the batch."""
    content_terms, style_terms = [], []
    for picture, style_picture in zip(batch.content, batch.style, strict=True):
        content = model.encoder(picture[None], LAYERS)["relu4_1"][0]
        style = {name: maps[0] for name, maps in model.encoder(style_picture[None], LAYERS).items()}
        target = adain(content, style["relu4_1"]).detach()
        painted = model.encoder(model.generator.decoder(target[None]), LAYERS)
        content_terms.append((painted["relu4_1"][0] - target).square().mean())
        distances = []
        for name in LAYERS:
            for mine, theirs in zip(moments(painted[name][0]), moments(style[name]), strict=True):
                distances.append((mine - theirs).square().mean())
        style_terms.append(torch.stack(distances).sum())
    return {"content": torch.stack(content_terms).mean(), "style": torch.stack(style_terms).mean()}


def test_the_terms_are_the_papers(build, batch):
    model = build()
    terms, expected = model.terms(batch), literal_terms(model, batch)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value.detach()), rel=1e-9), name


def test_a_step_descends_the_weighted_sum(build, batch, quiet_trainer):
    model, twin = build(loss=WEIGHTS), build(loss=WEIGHTS)
    trainer = quiet_trainer(max_steps=1, precision="64-true")
    trainer.fit(model, DataLoader([batch], batch_size=None))
    terms = literal_terms(twin, batch)
    total = 0.7 * terms["content"] + 3.0 * terms["style"]
    gradients = torch.autograd.grad(total, list(twin.generator.parameters()))
    ours = list(model.generator.parameters())
    for new, old, gradient in zip(ours, twin.generator.parameters(), gradients, strict=True):
        assert torch.allclose(new, old - RATE * gradient, rtol=1e-9, atol=1e-13)
    assert float(trainer.callback_metrics["train/total"]) == pytest.approx(float(total.detach()), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.3])
def test_the_strength_mixes_features(build, batch, alpha):
    model = build().eval()
    found = model.stylize(batch.content, style=batch.style, alpha=alpha)
    content, style = (model.encoder(pictures, ["relu4_1"])["relu4_1"] for pictures in (batch.content, batch.style))
    target = torch.stack([adain(*pair) for pair in zip(content, style, strict=True)])
    expected = model.generator.decoder((1 - alpha) * content + alpha * target).float().clamp(0, 1)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("skips", [0, 3])
def test_tiles_give_the_whole_picture(build, batch, skips):
    model = build(skips=skips).eval()
    whole = model.stylize(batch.content, style=batch.style)
    model.tile = 16
    assert torch.allclose(model.stylize(batch.content, style=batch.style), whole, atol=1e-6)


def test_skips_bring_fine_structure_in_the_styles_statistics(build, batch):
    model = build(skips=3)
    content = model.encoder(batch.content, ("relu1_1", "relu2_1"))
    style = model.encoder(batch.style, ("relu1_1", "relu2_1"))
    seen = []
    model.generator.decoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1:]))
    model.terms(batch)
    for skip, name, maps in zip(model.generator.decoder.skips, content, seen[0], strict=True):
        mixed = torch.stack([adain(*pair) for pair in zip(content[name], style[name], strict=True)])
        assert torch.allclose(maps, skip.reduce(mixed), atol=1e-9)
