"""NeAT's step and its controls on small networks; equations/ has the numbers."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from lightning_modules.errors import ImpastoError
from lightning_modules.neat.prior import colour_statistics, content_prior, recolour
from lightning_modules.neat.settings import LossWeights
from lightning_modules.types import Manner


@pytest.fixture
def fit(quiet_trainer):
    """Return a function that trains a model on a list of batches, one iteration each."""

    def run(model, batches, **options):
        trainer = quiet_trainer(max_steps=len(batches), **options)
        trainer.fit(model, DataLoader(batches, batch_size=None))
        return trainer

    return run


def pictures(batch=1, height=48, width=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float64)


def muted(*arguments, **options):
    return 0.3 + 0.2 * pictures(*arguments, **options)


# ---- training --------------------------------------------------------------------------------------------------------


def has_gradient(module):
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def test_each_step_leaves_the_other_networks_gradients_alone(small, batch, fit):
    model, seen = small(), []
    parts = {"generator": model.generator, "discriminator": model.discriminator, "patches": model.patches}
    model.on_before_optimizer_step = lambda optimizer: seen.append(
        {name for name, part in parts.items() if has_gradient(part)}
    )
    fit(model, [batch()])
    assert seen == [{"discriminator"}, {"generator"}, {"patches"}]


def test_iterations_are_counted_once_and_all_networks_learn(small, batch, fit):
    model = small()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    trainer = fit(model, [batch(seed=n) for n in range(3)])
    assert trainer.global_step == 3
    after = dict(model.named_parameters())
    still = {name for name, p in before.items() if torch.equal(p, after[name])}
    assert not {name for name in still if name.endswith("weight")}


def test_every_optimiser_follows_the_schedule(small, batch, fit):
    model = small()
    model.make_scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    trainer = fit(model, [batch(2), batch(2)])
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [0.25e-3] * 3


@pytest.mark.parametrize("name", ["loudness", "transform_rate"])
def test_a_negative_loudness_or_rate_is_one_sentence(small, name):
    with pytest.raises(ImpastoError, match=rf"{name} is -0\.5, and must be at least 0"):
        small(**{name: -0.5})


def test_loudness_reaches_every_block(small):
    assert [block.loudness for block in small(loudness=1.5).generator.transform.blocks] == [1.5, 1.5]
    assert [block.loudness for block in small().generator.transform.blocks] == [0, 0]


def test_the_attention_learns_at_its_own_share_of_the_rate(small, batch, fit):
    model = small(transform_rate=0.1)
    model.make_scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    generator = fit(model, [batch(2), batch(2)]).optimizers[0]
    assert [group["lr"] for group in generator.param_groups] == pytest.approx([0.25e-3, 0.25e-4])
    slow = {id(parameter) for parameter in model.generator.transform.parameters()}
    assert {id(parameter) for parameter in generator.param_groups[1]["params"]} == slow
    plain = small().configure_optimizers()[0]
    plain = plain["optimizer"] if isinstance(plain, dict) else plain
    assert len(plain.param_groups[0]["params"]) == sum(len(group["params"]) for group in generator.param_groups)


def test_bfloat16_trains(small, batch, fit):
    model = small()
    trainer = fit(model, [batch()], precision="bf16-mixed")
    assert trainer.callback_metrics["train/total"].isfinite()
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("dropped", ["patch_simple", "patch_complex"])
def test_a_patch_term_without_a_weight_is_left_out(small, batch, dropped):
    model, data = small(loss=replace(LossWeights(), **{dropped: 0.0})), batch(2)
    terms = model.generator_terms(data, model.paint_batch(data))
    assert {"patch_simple", "patch_complex"}.difference(terms) == {dropped}


def test_without_patch_terms_there_are_no_patch_discriminators(small, batch, fit):
    model = small(loss=LossWeights(patch_simple=0.0, patch_complex=0.0), patch_optimizer=None)
    assert model.patches is None
    trainer = fit(model, [batch(2)])
    assert len(trainer.optimizers) == 2
    assert "train/patches" not in trainer.callback_metrics


def test_patch_terms_need_an_optimiser(small):
    with pytest.raises(ImpastoError, match=r"give model\.patch_optimizer, as in neat/tiny\.yaml") as failure:
        small(patch_optimizer=None)
    assert "\n" not in str(failure.value)


def test_the_contrast_needs_crops_of_the_styles(small, batch):
    model, data = small(), batch(2)._replace(views=None)
    with pytest.raises(ImpastoError, match=r"set data\.style_views to 2") as failure:
        model.generator_terms(data, model.paint_batch(data))
    assert "\n" not in str(failure.value)


def test_crops_train_the_head_and_no_more(small, batch):
    model, data = small().double(), batch(2, dtype=torch.float64)
    data.views.requires_grad_()
    terms = model.generator_terms(data, model.paint_batch(data))
    terms["style_contrast"].backward()
    assert data.views.grad is None
    assert has_gradient(model.style_head)


# ---- the prior -------------------------------------------------------------------------------------------------------


def prior_of(model, content, style, *, blur=1.0, **changes):
    return content_prior(content, colour_statistics(style), settings=replace(model.prior, **changes), blur=blur)


def completed(model, content, style, *, alpha=1.0, **controls):
    manner = Manner(style=style, alpha=alpha, controls={"prior_blur": 1.0, "prior_weight": 1.0} | controls)
    return model.complete(torch.zeros_like(content), content, style, manner)


@pytest.mark.parametrize("weight", [0.5, 0.3])
def test_the_prior_lies_under_what_the_decoder_paints(small, weight):
    model, content, style = small(prior_weight=weight), pictures(), muted(seed=1)
    decoded = torch.randn(1, 3, 48, 64, dtype=torch.float64)
    expected = decoded + weight * prior_of(model, content, style)
    assert torch.allclose(model.complete(decoded, content, style), expected, rtol=0, atol=1e-12)


def test_no_gradient_passes_through_the_prior(small):
    model, content, style = small(), pictures().requires_grad_(), muted(seed=1).requires_grad_()
    assert not model.complete(torch.zeros(1, 3, 48, 64, dtype=torch.float64), content, style).requires_grad
    decoded = torch.zeros(1, 3, 48, 64, dtype=torch.float64, requires_grad=True)
    model.complete(decoded, content, style).sum().backward()
    assert torch.equal(decoded.grad, torch.ones_like(decoded))
    assert content.grad is None
    assert style.grad is None


def test_a_weight_of_0_leaves_what_the_decoder_returned(small):
    content, style, decoded = pictures(), muted(seed=1), torch.randn(1, 3, 48, 64)
    assert small(prior_weight=0.0).complete(decoded, content, style) is decoded
    manner = Manner(style=style, controls={"prior_blur": 1.0, "prior_weight": 0.0})
    assert small().complete(decoded, content, style, manner) is decoded


def test_the_controls_weigh_and_blur_the_prior(small):
    model, content, style = small(), pictures(), muted(seed=1)
    for share in (0.4, 1.0, 2.0):
        expected = share * 0.5 * prior_of(model, content, style)
        assert torch.allclose(completed(model, content, style, prior_weight=share), expected, rtol=0, atol=1e-12)
    sharp = 0.5 * recolour(content, colour_statistics(style))
    assert torch.allclose(completed(model, content, style, prior_blur=0.0), sharp, rtol=0, atol=1e-12)
    strong = 0.5 * prior_of(model, content, style, blur=2.0)
    assert torch.allclose(completed(model, content, style, prior_blur=2.0), strong, rtol=0, atol=1e-12)
    assert not torch.allclose(strong, completed(model, content, style), atol=1e-3)


@pytest.mark.parametrize("strength", [1.0, 0.8])
def test_alpha_takes_the_priors_colours_up_to_the_styles_and_no_further(small, strength):
    model, content, style = small(), pictures(), muted(seed=1)
    model.prior = replace(model.prior, strength=strength)
    full = 0.5 * prior_of(model, content, style)
    assert torch.equal(completed(model, content, style), completed(model, content, style, alpha=1.5))
    assert torch.allclose(completed(model, content, style), full, rtol=0, atol=1e-12)
    half = 0.5 * prior_of(model, content, style, strength=strength / 2)
    assert torch.allclose(completed(model, content, style, alpha=0.5), half, rtol=0, atol=1e-12)
    own = completed(model, content, style, alpha=0.0)
    assert torch.allclose(own, 0.5 * prior_of(model, content, content), rtol=0, atol=1e-6)


@pytest.fixture
def quiet(small):
    """A model whose decoder stays small, so that little of a picture is clamped."""
    model = small().double().eval()
    with torch.no_grad():
        for parameter in model.generator.decoder.stage1[-1].parameters():
            parameter.mul_(0.02)
    return model


@pytest.mark.parametrize("control", ["prior_blur", "prior_weight"])
def test_controls_reach_the_picture(quiet, control):
    content, style = pictures(), muted(seed=1)
    plain = quiet.stylize(content, style=style)
    assert torch.equal(quiet.stylize(content, style=style, controls={control: 1.0}), plain)
    for value in (0.0, 2.0):
        changed = quiet.stylize(content, style=style, controls={control: value})
        assert float((changed - plain).abs().mean()) > 1e-3
    with pytest.raises(ImpastoError, match=control.replace("_", ".")):
        quiet.stylize(content, style=style, controls={control: 2.5})


def test_strokes_of_another_size_are_painted_on_a_smaller_picture_and_laid_over_the_prior_as_it_is(quiet):
    content, style = pictures(2, 90, 150), muted(2, 40, 40, seed=1)
    assert torch.equal(
        quiet.stylize(content, style=style, controls={"stroke_size": 1}), quiet.stylize(content, style=style)
    )
    times, grid = 3, 3 * quiet.stride
    whole = F.pad(content, (0, -150 % quiet.stride, 0, -90 % quiet.stride), mode="reflect")  # as always
    padded = F.pad(whole, (0, -whole.shape[3] % grid, 0, -whole.shape[2] % grid), mode="reflect")
    small = padded.unflatten(3, (-1, times)).unflatten(2, (-1, times)).mean((3, 5))
    with torch.no_grad():
        decoded = quiet._decode(small, style, 0.7)
    enlarged = F.interpolate(decoded, padded.shape[2:], mode="bicubic")[..., :90, :150]
    prior = content_prior(whole, colour_statistics(style), settings=quiet.prior, strength=0.7)[..., :90, :150]
    painted = quiet.stylize(content, style=style, alpha=0.7, controls={"stroke_size": times})
    assert torch.allclose(painted, (enlarged + 0.5 * prior).clamp(0, 1).float(), rtol=0, atol=1e-6)
    assert not torch.allclose(painted, quiet.stylize(content, style=style, alpha=0.7), atol=1e-4)


def test_alpha_leads_from_the_contents_own_look_to_the_style_and_beyond(quiet):
    content, style = pictures(2), muted(2, 40, 40, seed=1)
    at = {alpha: quiet.stylize(content, style=style, alpha=alpha) for alpha in (0.0, 0.5, 1.0, 1.5)}
    assert torch.equal(at[1.0], quiet.stylize(content, style=style))
    assert torch.allclose(at[0.0], quiet.stylize(content, style=content), atol=1e-5)
    assert torch.isfinite(at[1.5]).all()
    assert len({float(picture.mean()) for picture in at.values()}) == 4


def test_validation_is_a_function_of_its_input(quiet, batch):
    data = batch(2, dtype=torch.float64)._replace(views=None)
    torch.manual_seed(1)
    first = quiet.validation_step(data, 0)["stylized"]
    torch.manual_seed(2)
    assert torch.equal(quiet.validation_step(data, 0)["stylized"], first)


@pytest.mark.parametrize("size", [(17, 31), (5, 90), (1, 1)])
@pytest.mark.parametrize("style", [(51, 23), (1, 1)])
@pytest.mark.parametrize("strokes", [1, 16])
def test_any_size_in_is_the_same_size_out(quiet, size, style, strokes):
    painted = quiet.stylize(pictures(1, *size), style=pictures(1, *style), controls={"stroke_size": strokes})
    assert painted.shape == (1, 3, *size)
    assert painted.isfinite().all()
