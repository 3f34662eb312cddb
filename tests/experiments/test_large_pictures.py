"""`--tile`, `--style-side` and `--size` with the painters that ship, on small pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images import read_image
from experiments.cli import execute
from lightning_modules import memory
from lightning_modules.checkpoints import checkpoint_class
from lightning_modules.shipped import painters

TILING = [name for name in painters() if checkpoint_class(f"embedded:{name}").tiles]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A photograph with smooth parts and edges, and a larger style picture."""
    monkeypatch.chdir(tmp_path)
    rows, columns = np.mgrid[:160, :208] / 208
    photograph = np.stack([rows, columns, (rows + columns > 0.8) * 0.7], -1)
    Image.fromarray((photograph * 255).astype(np.uint8)).save("photograph.png")
    noise = np.random.default_rng(0).integers(0, 255, (12, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((288, 144)).save("style.png")
    return tmp_path


def stylize(name, out, *arguments):
    fixed = ["--device", "cpu", "--content", "photograph.png", "--style", "style.png", "--out", out]
    assert execute(["stylize", "--checkpoint", f"embedded:{name}", *fixed, *arguments]) == 0
    return read_image(out)


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("name", TILING)
def test_tiles_leave_no_seam(name):
    whole, tiled = stylize(name, "whole.png", "--tile", "0"), stylize(name, "tiled.png", "--tile", "64")
    assert float((whole - tiled).abs().max()) <= 1 / 255 + 1e-6  # a value may round the other way
    for away in ((whole - tiled).abs().mean((0, 1)), (whole - tiled).abs().mean((0, 2))):
        borders = torch.zeros(len(away), dtype=torch.bool)
        for border in range(64, len(away), 64):
            borders[border - 2 : border + 2] = True
        assert float(away[borders].mean()) <= float(away[~borders].mean()) + 0.1 / 255


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("name", TILING)
def test_little_memory_chooses_tiles(name, monkeypatch):
    # In this photograph there is no tile of fewer than 256 pixels to be told from the whole: the choice is looked at.
    sides = []
    choose = memory.tile_side
    monkeypatch.setattr(memory, "free_memory", lambda _: 2**20)
    monkeypatch.setattr(
        "lightning_modules.internal_external.painting.tile_side",
        lambda *given: sides.append(choose(*given)) or sides[-1],
    )
    stylize(name, "tight.png")
    assert sides == [256, 256]
    sides.clear()
    monkeypatch.setattr(memory, "free_memory", lambda _: 2**40)
    stylize(name, "roomy.png")
    assert sides == [0, 0]


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("name", painters())
def test_a_style_picture_is_shrunk_and_a_content_sized(name):
    plain = stylize(name, "plain.png")
    assert torch.equal(plain, stylize(name, "as_it_is.png", "--style-side", "0"))
    capped = stylize(name, "capped.png", "--style-side", "72")
    assert capped.shape == plain.shape
    assert not torch.equal(capped, plain)
    Image.fromarray((read_image("style.png").permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)).resize(
        (72, 36), Image.Resampling.BICUBIC
    ).save("style.png")
    assert float((stylize(name, "small.png") - capped).abs().mean()) < 0.01  # Pillow's bicubic is not torch's
    assert stylize(name, "sized.png", "--size", "80").shape == (3, 80, 104)
    assert stylize(name, "grown.png", "--size", "240", "--max-side", "260").shape == (3, 200, 260)
