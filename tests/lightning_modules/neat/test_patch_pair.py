from dataclasses import replace

import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.neat.patch_pair import PatchPair, PatchSettings
from lightning_modules.neat.windows import crop_windows, draw_windows, window_scores
from lightning_modules.networks.edges import sobel_magnitude

SETTINGS = PatchSettings(size=8, windows=6, each=2, scales=(0.2, 0.4), width=3, max_channels=5, hidden=8, r1=0.8)
NAMES = ("patch_simple", "patch_complex")
STYLES = [0, 1, 2, 1]


def pair(**changes):
    torch.manual_seed(0)
    return PatchPair(replace(SETTINGS, **changes)).double()


def picture(*shape, seed=0):
    """A different kind of noise in every quarter, so that windows differ in complexity."""
    image = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    image[..., : shape[-1] // 2] *= 0.2
    image[..., : shape[-2] // 2, :] *= 0.5
    return image


def scene():
    """Four stylised pictures, their contents, three styles, and which style is whose."""
    return picture(4, 3, 40, 60), picture(4, 3, 40, 60, seed=1), picture(3, 3, 50, 36, seed=2), torch.tensor(STYLES)


def drawn(network, seed=7):
    torch.manual_seed(seed)
    return network.draw(*scene())


def expected_groups(images, guide, windows):
    """Patches of one picture after another, ordered by one score after another."""
    simple, rich = [], []
    for n in range(len(images)):
        edges = sobel_magnitude(guide[n : n + 1])
        order = sorted(range(6), key=lambda k, n=n, edges=edges: float(window_scores(edges, windows[n : n + 1])[0, k]))
        seen = [crop_windows(images[n : n + 1], windows[n : n + 1, [k]], 8)[0, 0] for k in order]
        simple.append(torch.stack(seen[:2]))
        rich.append(torch.stack(seen[-2:]))
    return torch.stack(simple), torch.stack(rich)


def single_scores(judge, reference, patches):
    """Scores of one picture's patches, each feature on its own."""
    known = torch.stack([judge.features(patch[None])[0] for patch in reference]).mean(0, keepdim=True)
    return torch.stack([judge.score(known, judge.features(patch[None])[None])[0, 0] for patch in patches])


@pytest.mark.parametrize(("guide", "which"), [("content", 1), ("stylized", 0)])
def test_windows_are_sorted_by_what_goes_on_in_their_guide(guide, which):
    network, pictures = pair(guide=guide), scene()
    patches = drawn(network)
    torch.manual_seed(7)
    fake, reference, real = (draw_windows(count, 6, (0.2, 0.4)) for count in (4, 3, 3))
    expected = {
        "fake": expected_groups(pictures[0], pictures[which], fake),
        "reference": expected_groups(pictures[2], pictures[2], reference),
        "real": expected_groups(pictures[2], pictures[2], real),
    }
    for kind, groups in expected.items():
        for name, group in zip(NAMES, groups, strict=True):
            assert torch.allclose(getattr(patches[name], kind), group, atol=1e-12), (kind, name)
    assert all(shown.style.tolist() == STYLES for shown in patches.values())


def test_complex_windows_of_the_content_are_more_complex_whatever_was_painted_there():
    content = picture(8, 3, 48, 64)
    places = torch.linspace(-1, 1, 64).double().expand(8, 3, 48, 64)  # a picture of where it is looked at
    torch.manual_seed(0)
    patches = pair(windows=32, each=8).draw(places, content, content, torch.arange(8))
    simple, rich = (patches[name].fake.mean((1, 2, 3, 4)) for name in NAMES)
    assert bool((simple < rich - 0.3).all())
    again, same = (patches[name].reference.flatten(1).std(1) for name in NAMES)
    assert bool((again < same).all())


def test_without_guidance_both_see_windows_as_they_were_drawn():
    patches = drawn(pair(guide="none"))
    torch.manual_seed(7)
    windows = draw_windows(4, 6, (0.2, 0.4))
    for name, group in zip(NAMES, (windows[:, :2], windows[:, -2:]), strict=True):
        assert torch.equal(patches[name].fake, crop_windows(scene()[0], group, 8))
    windows = draw_windows(3, 6, (0.2, 0.4))
    assert torch.equal(patches["patch_simple"].reference, crop_windows(scene()[2], windows[:, :2], 8))


def test_a_guide_sorts_windows_and_draws_no_others():
    found = [drawn(pair(each=3, guide=guide)) for guide in ("content", "stylized", "none")]
    sums = [sum(shown.fake.sum((1, 2, 3, 4)) for shown in patches.values()) for patches in found]
    assert torch.allclose(sums[0], sums[1])
    assert torch.allclose(sums[0], sums[2])
    assert not torch.allclose(found[0]["patch_simple"].fake, found[1]["patch_simple"].fake)


def test_a_seed_gives_its_patches_and_true_ones_are_drawn_twice():
    network = pair()
    one, same, other = drawn(network), drawn(network), drawn(network, seed=8)
    assert torch.equal(one["patch_complex"].fake, same["patch_complex"].fake)
    assert not torch.equal(one["patch_complex"].fake, other["patch_complex"].fake)
    assert not torch.equal(one["patch_complex"].reference, one["patch_complex"].real)


def test_the_generators_terms_are_those_of_the_equation():
    network = pair()
    patches = drawn(network)
    terms = network.generator_terms(patches)
    assert tuple(terms) == NAMES
    for name, term in terms.items():
        shown, judge = patches[name], network.discriminators[name]
        expected = sum(
            -torch.log(torch.sigmoid(single_scores(judge, shown.reference[STYLES[n]], shown.fake[n]))).sum()
            for n in range(4)
        )
        assert torch.allclose(term, expected / 8, atol=1e-12)


def literal_loss(network, patches, penalized):
    total = 0
    for name, shown in patches.items():
        judge = network.discriminators[name]
        for n in range(4):
            scores = single_scores(judge, shown.reference[STYLES[n]], shown.fake[n].detach())
            total = total - torch.log(1 - torch.sigmoid(scores)).sum() / 8
        for s in range(3):
            reference, real = shown.reference[s].clone().requires_grad_(), shown.real[s].clone().requires_grad_()
            scores = single_scores(judge, reference, real)
            total = total - torch.log(torch.sigmoid(scores)).sum() / 6
            if penalized:
                gradients = torch.autograd.grad(scores.sum(), (reference, real), create_graph=True)
                total = total + 16 * 0.25 * 0.8 * sum((g**2).sum() for g in gradients) / 3
    return total


@pytest.mark.parametrize(("step", "penalized"), [(0, True), (1, False), (15, False), (32, True)])
def test_the_discriminators_loss_and_its_gradients_are_those_of_the_equations(step, penalized):
    network = pair()
    patches = drawn(network)
    losses = network.loss(patches, step), literal_loss(network, patches, penalized)
    assert torch.allclose(*losses, rtol=1e-10)
    trained = list(network.parameters())
    found, expected = (torch.autograd.grad(loss, trained) for loss in losses)
    assert all(torch.allclose(one, other, rtol=1e-7, atol=1e-12) for one, other in zip(found, expected, strict=True))


def test_no_penalty_without_a_weight_and_another_rhythm():
    for network, step in ((pair(r1=0.0), 0), (pair(r1_every=3), 16)):
        patches = drawn(network)
        assert torch.allclose(network.loss(patches, step), literal_loss(network, patches, False), rtol=1e-10)


def test_the_generators_gradients_reach_the_stylised_pictures_alone():
    network, (stylized, content, style, which) = pair(), scene()
    pictures = [image.requires_grad_() for image in (stylized, content, style)]
    network.requires_grad_(False)  # as the other optimisers' parameters are in a step of the generator
    patches = network.draw(*pictures, which)
    torch.stack(list(network.generator_terms(patches).values())).sum().backward()
    assert float(stylized.grad.abs().sum()) > 0
    assert all(image.grad is None for image in (content, style))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_discriminators_gradients_reach_no_picture():
    network, (stylized, content, style, which) = pair(), scene()
    stylized.requires_grad_()
    network.loss(network.draw(stylized, content, style, which), 0).backward()
    assert stylized.grad is None
    assert all(float(parameter.grad.abs().sum()) > 0 for name, parameter in network.named_parameters())


def test_under_autocast_losses_are_float32_and_the_penalty_is_that_of_full_precision():
    network, pictures = pair().float(), [image.float() for image in scene()[:3]]
    patches = network.draw(*pictures, torch.tensor(STYLES))
    penalty = network.loss(patches, 0) - network.loss(patches, 1)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [network.loss(patches, step) for step in (0, 1)]
        terms = network.generator_terms(patches)
    assert {loss.dtype for loss in (*losses, *terms.values())} == {torch.float32}
    assert float((losses[0] - losses[1]).detach()) == pytest.approx(float(penalty.detach()), rel=1e-4)


def test_pictures_whose_windows_would_be_a_few_pixels_are_refused():
    network, small = pair(), torch.rand(3, 3, 40, 19).double()
    for stylized, style in ((small, scene()[2]), (scene()[0][:3], small)):
        with pytest.raises(ImpastoError, match=r"19x40 pixels .* 3\.8 pixels .* raise data\.size, or model\.patches"):
            network.draw(stylized, stylized, style, torch.arange(3))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"each": 4}, "6 windows do not hold 4 simple and 4 complex"),
        ({"each": 0}, "0 simple"),
        ({"scales": (0.4, 0.2)}, "0.4 to 0.2"),
        ({"scales": (0.5, 1.5)}, "0.5 to 1.5"),
        ({"r1_every": 0}, "every 0 iterations"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(changes, words):
    with pytest.raises(ImpastoError, match=words):
        pair(**changes)


def test_the_pair_learns_to_tell_two_textures_apart_and_the_generator_feels_it():
    """Stripes that stand against stripes that lie: both discriminators, by gradient descent, from one batch."""
    network = pair(windows=4, width=6, max_channels=8, hidden=16, r1=0.1).float()
    stripes = (torch.arange(48) // 2 % 2).float()
    stand, lie = stripes.expand(2, 3, 48, 48), stripes[:, None].expand(2, 3, 48, 48)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3, betas=(0.0, 0.99))
    for step in range(30):
        patches = network.draw(lie, lie, stand, torch.arange(2))
        optimizer.zero_grad()
        network.loss(patches, step).backward()
        optimizer.step()
    true = network.generator_terms(network.draw(stand, stand, stand, torch.arange(2)))
    false = network.generator_terms(network.draw(lie, lie, stand, torch.arange(2)))
    for name in NAMES:
        assert float(true[name].detach()) < 0.4 < 1.2 < float(false[name].detach())
