"""What the painters that ship paint: pictures that the judge names, and marks without a direction of their own."""

import numpy as np
import pytest
import torch

from datamodules.procedural import PAINTERS
from datamodules.procedural.contents import Content, contents
from datamodules.procedural.dataset import paint
from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.shipped import checkpoint_file, painters
from lightning_modules.weights import load_artist_classifier
from metrics.functional.anisotropy import relative_anisotropy

SIZE = 128
ARTISTS = list(PAINTERS)
MANNERS = {
    "clast": lambda works: {"prompt": ARTISTS},
    "contraast": lambda works: {"style": works},
}


def as_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).clamp(0, 1)


def painted(content, seed):
    return torch.stack([as_tensor(paint(content, artist, seed)) for artist in ARTISTS])


@pytest.fixture(scope="module")
def scenes():
    """Return two contents of the test split, the second one for the style pictures."""
    return list(contents("test", 2, SIZE, seed=0))


@pytest.mark.parametrize("name", sorted(MANNERS))
def test_painters_that_ship_are_named_and_their_contents_are_not(scenes, name):
    assert name in painters()
    painter, judge = load_checkpoint(checkpoint_file(f"embedded:{name}")), load_artist_classifier("embedded")
    content = as_tensor(scenes[0].image).expand(len(ARTISTS), -1, -1, -1)
    answers = judge(painter.stylize(content, **MANNERS[name](painted(scenes[1], seed=0)))).argmax(1)
    order = torch.tensor([judge.artists.index(artist) for artist in ARTISTS])
    assert int((answers == order).sum()) >= 7, answers
    assert int(judge(content[:1]).argmax(1)) == len(judge.artists)


@pytest.mark.parametrize("name", sorted(MANNERS))
def test_marks_on_one_colour_have_no_direction_that_the_paintings_have_not(scenes, name):
    painter = load_checkpoint(checkpoint_file(f"embedded:{name}"))
    flat = np.full((SIZE, SIZE, 3), (0.56, 0.71, 0.87), np.float32)
    content = as_tensor(flat).expand(len(ARTISTS), -1, -1, -1)
    pictures = painter.stylize(content, **MANNERS[name](painted(scenes[1], seed=0)))
    assert float(relative_anisotropy(pictures, painted(Content("flat", "", flat), seed=0))) < 1.3
