"""`impasto stylize` with regions, inference controls and methods that need no training."""

import numpy as np
import pytest
import yaml
from PIL import Image

from experiments.cli import execute


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two photographs, masks for them, and the YAML of a method that needs no training."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/b.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (40, 24), (200, 100, 50)).save(tmp_path / name)
    left = np.zeros((24, 40), dtype=np.uint8)
    left[:, :20] = 255
    (tmp_path / "masks").mkdir()
    for name, mask in (("a", left), ("b", left.max() - left)):
        Image.fromarray(mask).save(tmp_path / f"masks/{name}.png")
    settings = {"model": {"class_path": "stub_method.Shader"}, "data": {"class_path": "stub_method.StubData"}}
    (tmp_path / "shader.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def shade(*arguments):
    return execute(["stylize", "--config", "shader.yaml", "--device", "cpu", "--prompt", "dark", *arguments])


def red(path):
    return np.asarray(Image.open(path))[..., 0]


def test_a_method_without_training_paints_by_its_yaml(place):
    assert shade("--content", "in/a.png", "--out", "o.png") == 0
    assert (red("o.png") == 100).all()


def test_a_mask_leaves_every_other_pixel(place):
    assert shade("--content", "in/a.png", "--mask", "masks/a.png", "--out", "o.png") == 0
    assert (red("o.png")[:, :20] == 100).all()
    assert (red("o.png")[:, 20:] == 200).all()


def test_a_box_and_a_control(place):
    arguments = (
        "--content",
        "in/a.png",
        "--box",
        "0.5,0,1,0.5",
        "--grounder",
        "box",
        "--set",
        "shade=0.75",
        "--out",
        "o.png",
    )
    assert shade(*arguments) == 0
    expected = np.full((24, 40), 200)
    expected[:12, 20:] = 50
    assert np.array_equal(red("o.png"), expected)


def test_a_folder_of_masks_goes_with_a_folder_of_contents(place):
    assert shade("--content", "in", "--mask", "masks", "--out", "o") == 0
    assert (red("o/a.png")[:, :20] == 100).all()
    assert (red("o/b.png")[:, 20:] == 100).all()
    assert (red("o/b.png")[:, :20] == 200).all()


def test_a_mask_follows_a_picture_that_is_shrunk(place):
    assert shade("--content", "in/a.png", "--mask", "masks/a.png", "--max-side", "20", "--out", "o.png") == 0
    assert red("o.png").shape == (12, 20)
    assert (red("o.png")[:, :9] == 100).all()
    assert (red("o.png")[:, 11:] == 200).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--mask nowhere.png", "There is no mask at nowhere.png"),
        ("--box 1,2,3", "A box is four numbers"),
        ("--box 50,0,60,10", "outside the picture of 40 x 24"),
        ("--set shade=2", "shade takes 0 to 1, not '2'"),
        ("--set shadow=1", "Shader has no control 'shadow': it has alpha, shade"),
        ("--style in/a.png", "does not take image"),
    ],
)
def test_what_does_not_fit_is_one_sentence(place, capsys, arguments, words):
    assert shade("--content", "in/a.png", "--out", "o.png", *arguments.split()) == 1
    written = capsys.readouterr()
    assert words in written.err
    assert "Traceback" not in written.err
    assert not (place / "o.png").exists()


def test_a_mask_that_is_missing_among_others_is_named(place, capsys):
    (place / "masks/b.png").unlink()
    assert shade("--content", "in/b.png", "--mask", "masks", "--out", "o.png") == 1
    assert "There is no mask for b.png in masks: name it b.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "clast"), "CLAST must be trained first: run `make train-clast`"),
        (("--method", "clast", "--profile", "huge"), "clast has no profile 'huge': it has "),
        (("--method", "clast", "--profile", "published"), "clast has no profile 'published': it has "),
        (("--method", "clasp"), "there is no such method, only "),
        (("--method", "artist"), "ArtistClassification must be trained first"),
    ],
)
def test_methods_that_cannot_do_without_training(place, capsys, arguments, words):
    assert execute(["stylize", *arguments, "--content", "in/a.png", "--prompt", "x", "--out", "o.png"]) == 1
    assert words in capsys.readouterr().err
