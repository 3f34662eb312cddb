import json
from functools import cache

import numpy as np
import pytest
from PIL import Image

from experiments.cli import execute

DRAW = ["--weights", "random", "--size", "16", "--steps", "1", "--match-resolution", "16"]


@pytest.fixture(scope="module")
def load_once():
    """Return the door to pipelines that builds each once: nothing changes them."""
    from lightning_modules.weights.diffusion import load_diffusion

    return cache(load_diffusion)


@pytest.fixture
def images(tmp_path, monkeypatch, load_once):
    """Three pictures with captions, in an otherwise empty folder."""
    monkeypatch.setattr("experiments.negatives.maker.load_diffusion", load_once)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "monet").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "monet" / f"{number}.png")
    rows = [{"file_name": f"{number}.png", "text": f"a pond {number}"} for number in range(3)]
    (tmp_path / "monet" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "monet"


def prepare(*arguments):
    return execute(["prepare", "nsync", "--images", "monet", *DRAW, *arguments])


def test_negatives_lie_beside_the_pictures_with_a_page_to_look_at(images, capsys):
    assert prepare("--category", "illustration") == 0
    assert capsys.readouterr().out.split() == ["monet-negatives.png", "monet-negatives"]
    out = images.with_name("monet-negatives")
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png", "negatives.json"]
    with Image.open(out / "1.png") as image:
        assert image.info["prompt"] == "a pond 1 in the style of illustration"
    with Image.open(images.with_name("monet-negatives.png")) as sheet:
        assert sheet.height == 3 * 198
        positive = np.array(sheet.crop((0, 198, 192, 390)))
    with Image.open(images / "1.png") as image:
        assert (positive == np.array(image.resize((192, 192), Image.Resampling.BICUBIC))).all()
    assert prepare("--category", "painting") == 1
    assert "negatives of other settings (prompts ['illustration'], not ['painting'])" in capsys.readouterr().err
    words = ["painting", "impressionist painting"]
    assert prepare("--negative-prompts", *words, "--out", "mixed") == 0
    assert json.loads((images.with_name("mixed") / "negatives.json").read_text())["prompts"] == words


def test_captions_alone_are_for_held_out_pictures(images, monkeypatch, capsys):
    monkeypatch.setattr("experiments.negatives.captioner.Captioner", _Captioner)
    (images / "metadata.jsonl").unlink()
    (images / "1.txt").write_text("kept")
    assert prepare("--captions-only", "--captioner", "some/model") == 0
    assert capsys.readouterr().out.split() == ["monet"]
    assert [(images / f"{number}.txt").read_text() for number in range(3)] == ["30 wide\n", "kept", "30 wide\n"]
    assert not images.with_name("monet-negatives").exists()


class _Captioner:
    def __init__(self, model, device):
        assert model == "some/model"

    def describe(self, picture):
        return f"{picture.width} wide"


def no_captions(images):
    (images / "metadata.jsonl").unlink()


def one_picture(images):
    for number in (1, 2):
        (images / f"{number}.png").unlink()


def unreadable(images):
    (images / "2.png").write_bytes((images / "2.png").read_bytes()[:300])


def foreign(images):
    images.with_name("monet-negatives").mkdir()
    (images.with_name("monet-negatives") / "mine.png").write_bytes(b"mine")


@pytest.mark.parametrize(
    ("spoil", "arguments", "sentence"),
    [
        (no_captions, [], "3 of 3 pictures have no caption, first monet/0.png: write one into a .txt file"),
        (one_picture, [], "monet holds one picture only, and NSYNC compares each with another one"),
        (unreadable, [], "1 of 3 pictures cannot be read; the first: monet/2.png is damaged or truncated"),
        (foreign, [], "monet-negatives holds something other than negatives"),
        (None, ["--out", "monet/negatives"], "would be taken for pictures of monet"),
        (None, ["--images", "nowhere"], "The folder nowhere does not exist"),
        (None, ["--weights", "pretrained", "--model", "no/such-model"], "hf download no/such-model"),
        (None, ["--steps", "0"], "steps is 0, and must be at least 1"),
        (no_captions, ["--captioner", "no/such-model"], "The captioner no/such-model cannot be loaded"),
    ],
)
def test_bad_input_is_one_sentence(images, capsys, spoil, arguments, sentence):
    if spoil is not None:
        spoil(images)
    assert prepare(*arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.strip().splitlines()[-1].startswith("impasto: ")
    assert "Traceback" not in error
