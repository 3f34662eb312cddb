"""The fast iteration against the public notebook's order of things, one patch at a time."""

import pytest
import torch
from torchvision.transforms import functional as TF

from benchmarks.contenders.least import Literal
from lightning_modules.least.fitting import with_contrast
from lightning_modules.least.networks import StyleUNet
from lightning_modules.least.settings import Canvas, LossWeights, Patches, Structure

PRESETS = {
    "official": {
        "canvas": Canvas(size=64, crop=False, keep_aspect=False, solid=1.0, mask_resize="bicubic"),
        "patches": Patches(6, 20, fit_box=False, coverage=0.0, darken_twice=True, composite=False),
        "structure": Structure(size=48, masked=False, one_short=True),
        "double_normalise": True,
        "loss": LossWeights(patch=1e4),
    },
    "paper": {
        "canvas": Canvas(size=64, crop=False, keep_aspect=False),
        "patches": Patches(
            6, 20, coverage=0.0, distortion=0.0, threshold=0.0, source="content_patch", reduction="sum", composite=False
        ),
        "structure": Structure(("conv4_2", "conv5_2"), 48, "norm", masked=False),
        "loss": LossWeights(patch=1e3),
    },
    "fixed": {"patches": Patches(6, 20, threshold=0.9), "structure": Structure(size=48)},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_losses_and_gradients_are_those_of_the_literal_loop(fitting, lens, order, preset):
    fast = fitting(lens=lens._replace(antialias=False), **PRESETS[preset])
    jobs = fast.prepare(order())
    network = StyleUNet(1).double()
    network.start([3])
    for iteration in (0, 1):
        literal = Literal(fast, network, jobs, wasteful=False)
        draws = fast.draws(jobs, iteration)
        terms = fast.terms(network, jobs, iteration)
        expected = literal.terms(draws[0])
        assert terms.keys() == expected.keys()
        for name, term in terms.items():
            assert torch.allclose(term[0], expected[name], rtol=1e-6), name
        fast.total(terms).sum().backward()
        weights = fast.plan.loss
        sum(getattr(weights, name) * term for name, term in expected.items()).backward()
        for name in ("first", "middle.first", "up.0.second", "last", "down.2.beside", "halve.1"):
            ours = network.get_submodule(name).weight.grad[0]
            theirs = literal_layer(literal.network, name).weight.grad
            assert ours.abs().max() > 0
            assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max())), name
        network.zero_grad()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.01)
    assert all(p.grad is None for part in (lens.clip, lens.vgg) for p in part.parameters())


def literal_layer(network, name):
    place, _, part = name.rpartition(".")
    if place.startswith(("down.", "up.")) or (place and not part.isdigit()):
        block = network.get_submodule(place.replace(".0", "1").replace(".2", "3"))
        return {"first": block.main[0], "second": block.main[3], "beside": block.skip}[part]
    return network.get_submodule(name.replace(".1", "2"))


def test_every_iteration_looks_elsewhere_and_the_seed_says_where(fitting, order):
    fast = fitting()
    here, again, later = (fast.draws(fast.prepare(order()), number)[0] for number in (0, 0, 1))
    other = fast.draws(fast.prepare(order(seed=1)), 0)[0]
    assert torch.equal(here.ends, again.ends)
    assert torch.equal(here.corners, again.corners)
    for different in (later, other):
        assert not torch.equal(here.ends, different.ends)


def test_contrast_is_torchvisions(pictures):
    image = pictures()[0]
    assert torch.allclose(with_contrast(image, 1.5), TF.adjust_contrast(image, 1.5), atol=1e-6)
    assert with_contrast(image, 1.0) is image


def test_patches_below_the_threshold_stop_pulling(fitting, order):
    def gradient(threshold):
        fast = fitting(patches=Patches(6, 20, threshold=threshold))
        jobs = fast.prepare(order())
        canvas = torch.rand(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        canvas.requires_grad_()
        fast.terms_of(canvas, jobs, fast.draws(jobs, 0))["patch"].sum().backward()
        return canvas.grad

    assert gradient(0.0).any()
    assert not gradient(2.1).any()
