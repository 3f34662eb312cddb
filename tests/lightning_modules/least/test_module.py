"""LEAST as a method: what `stylize` promises."""

import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.least.settings import Canvas


@pytest.mark.parametrize("soft", [False, True])
def test_nothing_changes_outside_of_the_mask(small, soft, pictures, region):
    content, mask = pictures(), region()
    mask = mask * 0.6 if soft else mask
    painted = small().stylize(content, prompt="cubism", mask=mask)
    outside = (mask == 0).expand_as(content)
    assert torch.equal(painted[outside], content[outside])
    assert float((painted - content)[~outside].abs().mean()) > 0.02


def test_a_soft_mask_mixes(small, pictures, region):
    content, mask, model = pictures(), region(), small()
    painted = model.stylize(content, prompt="cubism", mask=mask * 0.1)
    inside = mask.bool().expand_as(content)
    assert 0 < float((painted - content)[inside].abs().max()) <= 0.1


def test_no_mask_is_a_mask_of_ones(small, pictures):
    model, content = small(), pictures()
    painted = model.stylize(content, prompt="cubism")
    assert torch.equal(painted, model.stylize(content, prompt="cubism", mask=torch.ones_like(content[:, :1])))
    assert float((painted - content).abs().amin((1,)).mean()) > 0.01


def test_a_seed_is_a_picture(small, pictures, region):
    content, mask = pictures(), region()

    def seeded(seed):
        model = small()  # which reseeds
        torch.manual_seed(seed)
        return model.stylize(content, prompt="cubism", mask=mask)

    assert torch.equal(seeded(1), seeded(1))
    assert float((seeded(1) - seeded(2)).abs().max()) > 1e-3


@pytest.mark.parametrize("side_by_side", [2, 3])
def test_side_by_side_is_one_by_one(small, side_by_side, pictures, region, in_float64):
    content, mask, prompts = pictures(3), region(3), ["cubism", "white wool", "cubism"]
    one, other = small(), small(jobs_per_device=side_by_side)
    in_float64(one, other)
    content, mask = content.double(), mask.double()
    separate = [
        one.stylize(content[n : n + 1], prompt=prompts[n], mask=mask[n : n + 1]) for n in range(3)
    ]  # each from the same seed
    together = other.stylize(content, prompt=prompts, mask=mask)
    assert torch.allclose(together, torch.cat(separate), atol=1e-6)


def test_clipping_ties_no_jobs_together(small, clipped, pictures, region, in_float64):
    content, mask, prompts = pictures(2).double(), region(2).double(), ["cubism", "white wool"]
    models = small(**clipped), small(jobs_per_device=2, **clipped), small(jobs_per_device=2, **clipped | {"clip": None})
    in_float64(*models)
    alone, together, unclipped = (model.stylize(content, prompt=prompts, mask=mask) for model in models)
    assert torch.allclose(together, alone, atol=1e-6)
    assert float((unclipped - together).abs().max()) > 0.01


def test_a_mask_of_one_pixel_and_one_that_is_nowhere_whole(small, pictures):
    content, mask = pictures(), torch.zeros(1, 1, 40, 56)
    mask[..., 39, 55] = 0.3
    painted = small().stylize(content, prompt="cubism", mask=mask)
    assert torch.isfinite(painted).all()
    assert int((painted != content).any(1).sum()) == 1


def test_an_empty_mask_is_one_sentence(small, pictures, region):
    content, model = pictures(2), small()
    for mask in (torch.zeros(2, 1, 40, 56), region(2) * torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)):
        with pytest.raises(ImpastoError, match="mask is empty"):
            model.stylize(content, prompt="cubism", mask=mask)


def test_strength_goes_from_the_content_to_the_painting_and_beyond(small, pictures):
    model, content = small(), pictures() * 0.2 + 0.4
    painted = {alpha: model.stylize(content, prompt="cubism", alpha=alpha) for alpha in (0.0, 0.5, 1.0, 1.2)}
    assert torch.equal(painted[0.0], content)
    assert torch.allclose(painted[0.5], (content + painted[1.0]) / 2, atol=1e-6)
    expected = (content + 1.2 * (painted[1.0] - content)).clamp(0, 1)
    assert torch.allclose(painted[1.2], expected, atol=1e-6)


def test_frozen_networks_get_no_gradients_and_are_asked_once_an_iteration(small, pictures, region):
    model, content = small(), pictures()
    model.load_loss_networks()
    calls = {"clip": [], "vgg": []}
    model.clip_encoder.model.visual.register_forward_hook(lambda _, given, __: calls["clip"].append(len(given[0])))
    model.encoder.register_forward_hook(lambda *_: calls["vgg"].append(1))
    model.stylize(content, prompt="cubism", mask=region())
    assert calls["clip"] == [2, 4, 4]  # content twice; then three patches and the region, in one call
    assert len(calls["vgg"]) == 3
    frozen = [p for part in (model.clip_encoder, model.encoder) for p in part.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in frozen)


def test_controls_say_how_long_a_fit_is(small, pictures):
    model, content, seen = small(), pictures(), []
    model.on_iteration = lambda iteration, count, terms: seen.append((iteration, count, sorted(terms)))
    model.stylize(content, prompt="cubism", controls={"iterations": 4})
    assert seen == [(number, 4, ["content", "direction", "patch", "tv"]) for number in range(4)]
    names = [control.name for control in model.offered]
    assert names == ["alpha", "iterations", "patience", "feather", "context"]


def test_a_fit_that_gains_nothing_ends(small, pictures):
    model, seen = small(), []
    model.make_optimizer = lambda weights: torch.optim.SGD(weights, lr=0.0)
    model.on_iteration = lambda iteration, *_: seen.append(iteration)
    model.stylize(pictures(), prompt="cubism", controls={"iterations": 60, "patience": 3})
    assert 3 <= len(seen) < 30


def test_a_fitted_network_paints_at_the_pictures_size(small, pictures):
    content = pictures(size=(96, 96))
    sides = []
    model = small(canvas=Canvas(size=32, repaint=64))
    model.load_loss_networks()
    enlarged = small(canvas=Canvas(size=32))
    original = model.fitting.painting

    def painting(network, jobs, job):
        handle = network.register_forward_hook(lambda _, given, __: sides.append(given[0].shape[-1]))
        result = original(network, jobs, job)
        handle.remove()
        return result

    model.fitting.painting = painting
    painted = model.stylize(content, prompt="cubism")
    assert sides == [64]
    assert not torch.allclose(painted, enlarged.stylize(content, prompt="cubism"), atol=1e-3)


def test_contrast_comes_before_the_picture_is_put_together(small, pictures, region):
    content, mask = pictures(), region()
    plain, strong = (small(contrast=factor).stylize(content, prompt="cubism", mask=mask) for factor in (1.0, 1.5))
    inside = mask.bool().expand_as(content)
    assert float(strong[inside].std()) > 1.1 * float(plain[inside].std())
    assert torch.equal(strong[~inside], content[~inside])


def test_settings_that_do_not_fit_are_one_sentence(small):
    for wrong in ({"templates": "none"}, {"templates": ["a painting"]}, {"jobs_per_device": 0}):
        with pytest.raises(ImpastoError):
            small(**wrong)


def test_accumulated_iterations_are_refused_in_one_sentence(small):
    with pytest.raises(ImpastoError, match=r"accumulate cannot be 2: leave it at 1") as failure:
        small(accumulate=2)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_every_network_sees_beyond_the_canvas_what_its_settings_say(small, pictures, padding):
    model = small(canvas=Canvas(size=32, padding=padding))
    model.load_loss_networks()
    networks, original = [model.network], model.fitting.painting

    def painting(network, jobs, job):
        networks.append(network)
        return original(network, jobs, job)

    model.fitting.painting = painting
    model.stylize(pictures(), prompt="cubism")
    assert len(networks) == 2
    for network in networks:
        assert {layer.reflects for layer in network.layers() if layer.beyond} == {padding == "reflect"}
