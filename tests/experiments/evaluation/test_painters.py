"""Methods of every kind at the pairs of a protocol, and the pictures that they get."""

import importlib

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images import read_image
from datamodules.masks import read_mask
from experiments.evaluation.inputs import Inputs, fitted
from experiments.evaluation.painters import hand_of
from experiments.evaluation.protocol import Picture, Protocol, Task, file_sha256
from experiments.evaluation.recipe import Recipe
from lightning_modules.errors import ImpastoError


@pytest.fixture
def stub():
    """Return a function from a name to a stub of a method, which only now can be imported."""

    def make(name):
        module = importlib.import_module("stub_generator" if name == "Dreamer" else "stub_method")
        torch.manual_seed(0)
        return getattr(module, name)().eval()

    return make


def recipe(**changes):
    return Recipe(**{"name": "a", "source": "", "pairing": "every", "metrics": ["ssim"], **changes})


@pytest.fixture
def protocol(tmp_path):
    """Return a function from a task's fields and a recipe's to the files of the task."""
    noise = np.random.default_rng(0)
    for name, size in {"content": (24, 32), "style": (40, 20), "mask": (12, 16)}.items():
        Image.fromarray(noise.integers(0, 255, (*size, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    half = np.zeros((12, 16), dtype=np.uint8)
    half[:, 8:] = 255
    Image.fromarray(half).save(tmp_path / "mask.png")

    def make(fields, **settings):
        pictures = {
            name: Picture("content", f"{name}.png", file_sha256(tmp_path / f"{name}.png"))
            for name in ("content", "style", "mask")
        }
        task = Task("0000", **fields)
        found = Protocol(recipe(**settings), {"content": tmp_path}, pictures, [task])
        return found, task, Inputs(found, tmp_path / "out").of(task)

    return make


def size(path):
    return tuple(read_image(path).shape[-2:])


@pytest.mark.parametrize(
    ("settings", "content", "style"),
    [
        ({}, (24, 32), (40, 20)),
        ({"resize": 48}, (48, 64), (96, 48)),
        ({"resize": 16}, (16, 21), (32, 16)),
        ({"resize": 16, "crop": "centre"}, (16, 16), (16, 16)),
        ({"crop": "centre"}, (24, 24), (20, 20)),
        ({"resize": 20, "crop": "stretch"}, (20, 20), (20, 20)),
    ],
)
def test_pictures_are_cut_and_sized_once(protocol, settings, content, style):
    _, _, files = protocol({"content": "content", "style": "style"}, **settings)
    assert (size(files.content), size(files.style)) == (content, style)


def test_a_picture_that_keeps_its_size_keeps_its_bits(protocol, tmp_path):
    _, _, files = protocol({"content": "content"})
    assert torch.equal(read_image(files.content), read_image(tmp_path / "content.png"))


def test_the_middle_is_cut_and_the_whole_is_stretched():
    wide = np.zeros((16, 48, 3), dtype=np.uint8)
    wide[:, 16:32] = 200
    assert fitted(wide, recipe(resize=16, crop="centre")).min() == 200
    assert fitted(wide, recipe(resize=16, crop="stretch")).min() == 0


@pytest.mark.parametrize("where", [{"mask": "mask"}, {"box": "0.5,0.0,1.0,1.0"}, {"box": "16,0,32,24"}])
def test_a_region_is_cut_as_its_content_is(protocol, where):
    _, _, files = protocol({"content": "content", **where}, crop="centre")
    mask = read_mask(files.mask)
    assert mask.shape == (1, 24, 24)
    assert mask[0, :, :11].max() == 0  # the middle of 32 columns is column 12 of the 24 that are left
    assert mask[0, :, 13:].min() > 0.99


def test_a_style_is_given_as_picture_or_in_words(protocol, stub):
    found, task, files = protocol({"content": "content", "style": "style", "prompt": "Ada"})
    model = stub("Stub")
    for asked, of_recipe, expected in (
        (None, None, "text"), (None, "image", "image"), ("text", "image", "text"), ("image", "text", "image")
    ):  # fmt: skip
        hand = hand_of(model, recipe(condition=of_recipe), found.tasks, condition=asked, controls={"alpha": "0.5"})
        assert hand.settings == {"condition": expected, "controls": {"alpha": 0.5}}
    weaker, full = (
        hand_of(model, found.recipe, found.tasks, condition=None, controls=controls).make(task, files, 0)
        for controls in ({"alpha": 0.5}, {})
    )
    content = read_image(files.content)
    inside = (full > 0) & (full < 1)
    assert torch.allclose((weaker - content)[inside], 0.5 * (full - content)[inside], atol=1e-5)


def test_words_and_region_reach_a_method_that_takes_them(protocol, stub):
    found, task, files = protocol({"content": "content", "prompt": "black", "box": "0,0,16,24"})
    painted = hand_of(stub("Grey"), found.recipe, found.tasks, condition=None, controls={}).make(task, files, 0)
    assert painted[..., :16].max() == 0
    assert torch.equal(painted[..., 16:], read_image(files.content)[..., 16:])


def test_a_method_without_regions_paints_everything(protocol, stub):
    found, task, files = protocol({"content": "content", "style": "style", "prompt": "x", "box": "0,0,16,24"})
    painted = hand_of(stub("Stub"), found.recipe, found.tasks, condition=None, controls={}).make(task, files, 0)
    assert (painted != read_image(files.content)).any(0).float().mean() > 0.9


def test_what_a_method_needs_and_the_protocol_lacks_is_said(protocol, stub):
    found, _, _ = protocol({"content": "content", "style": "style"})
    with pytest.raises(ImpastoError, match=r"Shader is given a style in words, and 1 of 1 pairs .* have no prompt"):
        hand_of(stub("Shader"), found.recipe, found.tasks, condition=None, controls={})
    with pytest.raises(ImpastoError, match="Shader takes no image condition: choose --condition text"):
        hand_of(stub("Shader"), found.recipe, found.tasks, condition="image", controls={})
    with pytest.raises(ImpastoError, match="have no content"):
        hand_of(stub("Stub"), found.recipe, [Task("0000", caption="a pond")], condition=None, controls={})


def test_captions_are_drawn_in_the_learnt_style_and_brought_to_size(protocol, stub):
    found, task, files = protocol({"caption": "a pond", "artist": "Grey"}, resize=32)
    hand = hand_of(stub("Dreamer"), found.recipe, found.tasks, condition=None, controls={"gain": "1.5"})
    drawn = hand.make(task, files, 3)
    assert drawn.shape == (3, 32, 48)  # it draws 16 x 24
    assert torch.equal(drawn, hand.make(task, files, 3))
    assert not torch.equal(drawn, hand.make(task, files, 4))
    longer = len("a pond in the style of Somebody Else") / len("a pond in the style of <grey>")
    other = hand.make(Task("0000", caption="a pond", artist="Somebody Else"), files, 3)
    assert float(other.mean() / drawn.mean()) == pytest.approx(longer, rel=0.05)


def test_a_content_is_redrawn_at_its_own_size(protocol, stub):
    found, task, files = protocol({"content": "content", "artist": "Grey"}, resize=24)
    hand = hand_of(stub("Dreamer"), found.recipe, found.tasks, condition=None, controls={})
    assert hand.make(task, files, 0).shape == (3, 24, 32)
    with pytest.raises(ImpastoError, match="Dreamer draws from words"):
        hand_of(stub("Dreamer"), found.recipe, found.tasks, condition="image", controls={})
