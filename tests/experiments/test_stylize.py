import numpy as np
import pytest
from PIL import Image

from experiments.cli import execute


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder of readable pictures, and broken files beside it."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    for name, size in (("in/a.jpg", (23, 40, 3)), ("in/sub/one.png", (1, 1, 3)), ("in/grey.gif", (20, 20))):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, size, dtype=np.uint8)).save(path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/text.jpg").write_text("no picture")
    return tmp_path


def stylize(trained, *arguments):
    return execute(["stylize", "--checkpoint", str(trained), "--device", "cpu", *arguments])


def test_one_picture_keeps_its_size(trained, pictures, capsys):
    assert stylize(trained, "--content", "in/a.jpg", "--prompt", "a", "--out", "deep/er/out.png") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "deep/er/out.png"
    assert Image.open(pictures / "deep/er/out.png").size == (40, 23)


def test_a_folder_comes_out_as_a_folder(trained, pictures, capsys):
    (pictures / "in/bad.png").write_text("no picture")
    assert stylize(trained, "--content", "in", "--style", "in/a.jpg", "--out", "out") == 0
    written = capsys.readouterr()
    assert written.out.splitlines()[-1] == "out"
    assert "Skipped 1 of 4 files" in written.err
    names = {str(path.relative_to(pictures / "out")) for path in (pictures / "out").rglob("*") if path.is_file()}
    assert names == {"a.jpg", "sub/one.png", "grey.gif.png"}


def test_a_second_call_does_not_paint_its_own_results(trained, pictures):
    for _ in range(2):
        assert stylize(trained, "--content", "in", "--prompt", "a", "--out", "in/out") == 0
    assert not (pictures / "in/out/out").exists()


def test_alpha_seed_and_size(trained, pictures):
    for name, *options in (("0", "--alpha", "0"), ("1",), ("again",), ("small", "--max-side", "20")):
        arguments = ("--content", "in/a.jpg", "--prompt", "a", "--out", f"{name}.png", *options)
        assert stylize(trained, *arguments) == 0
    pixels = {name: np.asarray(Image.open(pictures / f"{name}.png")) for name in ("0", "1", "again", "small")}
    assert np.array_equal(pixels["0"], np.asarray(Image.open(pictures / "in/a.jpg")))
    assert np.array_equal(pixels["1"], pixels["again"])
    assert not np.array_equal(pixels["0"], pixels["1"])
    assert pixels["small"].shape == (12, 20, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--content broken/text.jpg --prompt a --out o.png", "is not a picture"),
        ("--content broken --prompt a --out o", "Skipped 1 of 1"),
        ("--content empty --prompt a --out o", "No pictures"),
        ("--content nowhere.png --prompt a --out o", "There is no content at nowhere.png"),
        ("--content in/a.jpg --style broken/text.jpg --out o.png", "is not a picture"),
        ("--content in/a.jpg --out o.png", "--prompt TEXT or --style IMAGE"),
        ("--content in/a.jpg --prompt a --style in/a.jpg --out o.png", "a style image or a text prompt, not both"),
        ("--content in/a.jpg --prompt= --out o.png", "prompt is empty"),
        ("--content in/a.jpg --prompt a --alpha nan --out o.png", "--alpha"),
        ("--content in/a.jpg --prompt a --max-side 0 --out o.png", "--max-side"),
        ("--content film.mp4 --prompt a --out o.mp4", "There is no content at film.mp4"),
        ("--content in/a.jpg --prompt a --out o.txt", "o.txt cannot be written"),
        ("--content in --prompt a --out o.png", "must be one too"),
        ("--content in --prompt a --out in", "overwrite"),
        ("--content in/a.jpg --prompt a --out in/a.jpg", "overwrite"),
    ],
)
@pytest.mark.usefixtures("pictures")
def test_bad_input_is_one_sentence(trained, capsys, arguments, words):
    assert stylize(trained, *arguments.split()) == 1
    written = capsys.readouterr()
    assert words in written.err
    assert "Traceback" not in written.err
    assert not written.out


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [("nowhere.ckpt", "There is no checkpoint"), ("in/a.jpg", "not a checkpoint"), ("empty", "no checkpoint in empty")],
)
def test_a_bad_checkpoint_is_one_sentence(capsys, checkpoint, words):
    arguments = ["--content", "in/a.jpg", "--prompt", "a", "--out", "o.png"]
    assert execute(["stylize", "--checkpoint", checkpoint, *arguments]) == 1
    assert words in capsys.readouterr().err
