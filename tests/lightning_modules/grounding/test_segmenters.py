import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding import GivenHint, GivenMask
from lightning_modules.grounding.segmenters import (
    FeatheredBox,
    GrabCut,
    Hint,
    InTurn,
    TokenSimilarity,
    without_weights,
)
from lightning_modules.networks.dinov2 import DINOv2

SQUARE = (20, 50, 30, 60)  # rows and columns of the photo's bright square


def iou(mask):
    truth = torch.zeros(1, 60, 90, dtype=torch.bool)
    truth[:, SQUARE[0] : SQUARE[1], SQUARE[2] : SQUARE[3]] = True
    inside = mask >= 0.5
    return float((inside & truth).sum() / (inside | truth).sum())


@pytest.mark.parametrize(
    "hint", [Hint((25, 15, 65, 55)), Hint(None, ((45.0, 35.0),)), Hint((25, 15, 65, 55), ((45, 35),))]
)
def test_grabcut_finds_the_square(photo, hint):
    region = GrabCut().segment(photo, hint)
    assert iou(region.mask) > 0.95
    assert region.source == "grabcut"
    assert torch.equal(region.mask, GrabCut().segment(photo, hint).mask)


def test_grabcut_refuses_what_it_cannot_do(photo):
    with pytest.raises(ImpastoError, match="give a smaller box"):
        GrabCut().segment(photo, Hint((0, 0, 90, 60)))
    with pytest.raises(ImpastoError, match="GrabCut finds nothing"):
        GrabCut().segment(torch.full((3, 40, 40), 0.5), Hint((10, 10, 30, 30)))


def colour_network():
    """A DINOv2 whose tokens are the mean colours of cells of 14 pixels."""
    network = DINOv2(width=64, depth=1, patch=14, grid=4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for channel in range(3):
            network.patch.weight[channel, channel] = 1 / 196
    return network


def test_similar_tokens_around_a_point(photo):
    photo = torch.nn.functional.interpolate(photo[None], scale_factor=6)[0]
    segmenter = TokenSimilarity(colour_network())
    region = segmenter.segment(photo, Hint(None, ((270.0, 210.0),)))
    assert iou(torch.nn.functional.interpolate(region.mask[None], (60, 90))[0]) > 0.75
    elsewhere = segmenter.segment(photo, Hint(None, ((20.0, 20.0),)))
    assert iou(torch.nn.functional.interpolate(elsewhere.mask[None], (60, 90))[0]) < 0.1
    with pytest.raises(ImpastoError, match="give a --point"):
        segmenter.segment(photo, Hint((10, 10, 50, 50)))


def test_what_is_alike_but_apart_is_left_out():
    image = torch.zeros(3, 56, 168)
    image[0, :, :42] = image[0, :, 126:] = 1
    image[1, :, 42:126] = 1
    mask = TokenSimilarity(colour_network()).segment(image, Hint(None, ((10.0, 20.0),))).mask
    assert mask[0, 28, 10] == 1
    assert (mask[0, :, 100:] == 0).all()


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Hint((90, 0, 120, 20)), "outside the picture of 90 x 60 pixels"),
        (Hint((30, 20, 30, 40)), "is empty or outside"),
        (Hint(None, ((90.0, 10.0),)), "The point 90,10 lies outside the picture of 90 x 60"),
    ],
)
def test_hints_outside_the_picture(photo, hint, words):
    with pytest.raises(ImpastoError, match=words):
        FeatheredBox().segment(photo, hint)


def test_without_weights_the_reason_is_said_once_and_each_failure_in_a_sentence(photo):
    said = []
    segmenter = without_weights(said.append)
    assert segmenter.segment(photo, Hint((25, 15, 65, 55))).source == "grabcut"
    segmenter.segment(photo, Hint((25, 15, 65, 55)))
    assert len(said) == 1
    assert said[0].startswith("There are no weights of SAM on this machine, so the outline comes from")
    region = segmenter.segment(photo, Hint((0, 0, 90, 60)))
    assert region.source == "box"
    assert said[1].startswith("GrabCut compares what is inside a box")


def test_the_tokens_come_first_for_points_alone(photo):
    steps = [TokenSimilarity(colour_network()), GrabCut(), FeatheredBox()]
    segmenter = InTurn(steps, lambda _: None)
    assert segmenter.segment(photo, Hint(None, ((45.0, 35.0),))).source == "dinov2s_imgfocus"
    assert segmenter.segment(photo, Hint((25, 15, 65, 55))).source == "grabcut"


def test_a_given_mask_is_taken_as_it_is(photo):
    mask = torch.rand(1, 60, 90)
    [region] = GivenMask(mask).ground(photo, "whatever")
    assert torch.equal(region.mask, mask)
    assert (region.score, region.source) == (1.0, "mask")
    with pytest.raises(ImpastoError, match=r"must be \(1, 60, 90\), got \(1, 60, 80\)"):
        GivenMask(mask[..., :80]).ground(photo, "")
    with pytest.raises(ImpastoError, match="The mask is empty"):
        GivenMask(0 * mask).ground(photo, "")


def test_a_given_box_is_segmented(photo):
    [region] = GivenHint(Hint((25, 15, 65, 55)), GrabCut()).ground(photo, "")
    assert iou(region.mask) > 0.95
