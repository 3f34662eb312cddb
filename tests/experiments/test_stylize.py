import os

import numpy as np
import pytest
from PIL import Image

from experiments.cli import execute
from experiments.painting.inference import TooLargeError


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
        ("--content in/a.jpg --prompt a --alpha nan --out o.png", "The control alpha takes 0 to 3, not 'nan'"),
        ("--content in/a.jpg --prompt a --max-side 0 --out o.png", "--max-side"),
        ("--content in/a.jpg --prompt a --size 0 --out o.png", "--size"),
        ("--content in/a.jpg --prompt a --style-side -1 --out o.png", "--style-side"),
        ("--content in/a.jpg --prompt a --tile 63 --out o.png", "--tile must be at least 64 pixels, or 0"),
        ("--content in/a.jpg --prompt a --tile 64 --out o.png", "Stub paints every picture whole: leave --tile away"),
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


# ---------------------------------------------------------------------- what a user gave is never overwritten


@pytest.mark.parametrize(
    "arguments",
    [
        "--content in --style paintings/a.jpg --out paintings",
        "--content in/a.jpg --style s.png --out s.png",
        "--content in/a.jpg --style s.png --out other/link.png",
        "--content in --style s.png --out mirror",
        "--content in/a.jpg --style s.png --out in",
        "--content in/a.jpg --style s.png --mask m.png --out m.png",
        "--content in --style s.png --mask masks --out masks",
    ],
)
def test_nothing_that_is_read_is_overwritten(trained, pictures, capsys, arguments):
    (pictures / "paintings").mkdir()
    (pictures / "other").mkdir()
    Image.new("RGB", (9, 9), "red").save(pictures / "paintings/a.jpg")
    Image.new("RGB", (9, 9), "red").save(pictures / "s.png")
    (pictures / "other/link.png").symlink_to("../s.png")
    (pictures / "mirror").symlink_to("in", target_is_directory=True)
    (pictures / "masks").mkdir()
    Image.new("L", (9, 9), "white").save(pictures / "m.png")
    Image.new("L", (9, 9), "white").save(pictures / "masks/a.jpg")
    before = {path: path.read_bytes() for path in pictures.rglob("*") if path.is_file()}
    assert stylize(trained, *arguments.split()) == 1
    assert "would overwrite" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in pictures.rglob("*") if path.is_file()} == before


def test_a_checkpoint_is_not_overwritten(trained, pictures, capsys):
    (pictures / "model.png").write_bytes((trained / "checkpoints/last.ckpt").read_bytes())
    arguments = ["--checkpoint", "model.png", "--content", "in/a.jpg", "--prompt", "a", "--out", "model.png"]
    assert execute(["stylize", *arguments]) == 1
    assert "model.png would overwrite model.png" in capsys.readouterr().err


def test_two_results_of_a_folder_never_have_one_name(trained, pictures, capsys):
    Image.new("RGB", (9, 9)).save(pictures / "in/grey.gif.png")
    assert stylize(trained, "--content", "in", "--prompt", "a", "--out", "out") == 1
    assert "Two results would go to out/grey.gif.png" in capsys.readouterr().err
    assert not (pictures / "out").exists()


# ---------------------------------------------------------------------- folders as they are


def test_a_link_to_the_folder_above_adds_nothing(trained, pictures):
    (pictures / "in/sub/up").symlink_to("..", target_is_directory=True)
    assert stylize(trained, "--content", "in", "--prompt", "a", "--out", "out") == 0
    names = {str(path.relative_to(pictures / "out")) for path in (pictures / "out").rglob("*") if path.is_file()}
    assert names == {"a.jpg", "sub/one.png", "grey.gif.png"}


def test_names_that_are_no_text_come_out_as_they_are(trained, pictures, capsysbinary):
    (pictures / "in/a.jpg").rename(os.fsdecode(bytes(pictures / "in") + b"/caf\xe9.jpg"))
    assert stylize(trained, "--content", os.fsdecode(b"in/caf\xe9.jpg"), "--prompt", "a", "--out", "out/") == 0
    assert capsysbinary.readouterr().out.splitlines()[-1] == b"out/caf\xe9.jpg"
    (pictures / os.fsdecode(b"in/d\xe9.png")).write_text("no picture")
    assert stylize(trained, "--content", "in", "--prompt", "a", "--out", "out2") == 0
    assert rb"in/d\xe9.png is not a picture" in capsysbinary.readouterr().err
    assert (pictures / "out2" / os.fsdecode(b"caf\xe9.jpg")).is_file()


@pytest.mark.parametrize(
    "error", [ValueError("a size\nthat does not fit"), MemoryError(), OSError(28, "No space left")]
)
def test_a_file_that_fails_keeps_no_later_one_from_being_painted(trained, pictures, monkeypatch, capsys, error):
    import stub_method

    def render(self, content, *_, **__):
        if content.shape[-1] >= 40:  # in/a.jpg, the first
            raise error
        return content

    monkeypatch.setattr(stub_method.Stub, "_render", render)
    assert stylize(trained, "--content", "in", "--prompt", "a", "--out", "out") == 0
    written = capsys.readouterr()
    assert "Skipped 1 of 3 files:\n  in/a.jpg" in written.err
    assert written.err.count("\n") == 2
    assert {path.name for path in (pictures / "out").rglob("*.png")} == {"one.png", "grey.gif.png"}
    monkeypatch.setenv("IMPASTO_TRACEBACK", "1")
    with pytest.raises(TooLargeError if isinstance(error, MemoryError) else type(error)):
        stylize(trained, "--content", "in", "--prompt", "a", "--out", "out")


@pytest.mark.usefixtures("pictures")
def test_what_is_wrong_with_every_file_is_said_once(trained, monkeypatch, capsys):
    import stub_method

    from lightning_modules.errors import ImpastoError

    def render(self, content, *_, **__):
        raise ImpastoError("This method wants something else.")

    monkeypatch.setattr(stub_method.Stub, "_render", render)
    assert stylize(trained, "--content", "in", "--prompt", "a", "--out", "out") == 1
    assert capsys.readouterr().err == "Skipped 3 of 3 files:\n  This method wants something else.\n"
