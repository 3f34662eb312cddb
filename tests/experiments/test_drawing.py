"""`impasto stylize` with a method that draws from words: no content, a content to start from, folders of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images import read_image
from experiments.cli import execute
from experiments.painting.inference import load_drawing_model


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of readable pictures to start from."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    for name, size in (("in/a.png", (24, 40, 3)), ("in/sub/b.png", (13, 21, 3))):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, size, dtype=np.uint8)).save(path)
    slope = np.linspace(20, 230, 13 * 21).reshape(13, 21, 1).repeat(3, 2)
    Image.fromarray(slope.astype(np.uint8)).save(tmp_path / "in/sub/b.png")
    return tmp_path


def draw(dreamer, *arguments):
    return execute(["stylize", "--checkpoint", str(dreamer), "--device", "cpu", *arguments])


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_words_alone_make_a_picture(dreamer, place, capsys):
    assert draw(dreamer, "--prompt", "a pond with a bridge", "--out", "deep/pond.png") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "deep/pond.png"
    drawn = pixels("deep/pond.png")
    assert drawn.shape == (16, 24, 3)  # the size of its validations
    expected = load_drawing_model(dreamer, "cpu").generate("a pond with a bridge", size=(16, 24), seed=0)[0]
    assert np.array_equal(drawn, (expected * 255 + 0.5).byte().permute(1, 2, 0).numpy())
    assert draw(dreamer, "--prompt", "a pond with a bridge", "--out", "results") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "results/a-pond-with-a-bridge.png"


def test_seeds_are_counted_and_no_batch_matters(dreamer, place, capsys):
    words = ["--prompt", "a pond", "--size", "24x16"]
    assert draw(dreamer, *words, "--seed", "3", "--count", "3", "--batch", "2", "--out", "many.png") == 0
    written = ["many-3.png", "many-4.png", "many-5.png"]
    assert capsys.readouterr().out.splitlines() == written
    for number, name in zip((3, 4, 5), written, strict=True):
        assert draw(dreamer, *words, "--seed", str(number), "--out", "one.png") == 0
        assert pixels(name).shape == (16, 24, 3)
        assert np.array_equal(pixels("one.png"), pixels(name))
    assert not np.array_equal(pixels(written[0]), pixels(written[1]))


def test_controls_are_options_with_the_defaults_of_the_run(dreamer, place, capsys):
    for name, *options in (("plain",), ("same", "--gain", "0.9"), ("dark", "--gain", "0"), ("set", "--set", "gain=0")):
        assert draw(dreamer, "--prompt", "a pond", "--out", f"{name}.png", *options) == 0
    assert np.array_equal(pixels("plain.png"), pixels("same.png"))
    assert pixels("plain.png").max() > 0
    assert pixels("dark.png").max() == pixels("set.png").max() == 0
    with pytest.raises(SystemExit):
        draw(dreamer, "--help")
    assert "--gain (0 to 2, default 0.9): Brightness." in capsys.readouterr().out


def test_a_content_comes_back_in_its_size_as_much_redrawn_as_was_asked(dreamer, place):
    words = ["--prompt", "a pond", "--content", "in/a.png"]
    for name, *options in (("none", "--strength", "0"), ("some",), ("all", "--strength", "1")):
        assert draw(dreamer, *words, "--out", f"{name}.png", *options) == 0
    assert np.array_equal(pixels("none.png"), pixels("in/a.png"))
    assert draw(dreamer, "--prompt", "a pond", "--size", "40x24", "--out", "free.png") == 0
    assert np.array_equal(pixels("all.png"), pixels("free.png"))
    blended = 0.4 * pixels("none.png") + 0.6 * pixels("all.png")
    assert np.abs(pixels("some.png") - blended).max() <= 1


def test_a_content_of_any_size_is_brought_to_whole_strides_and_back(dreamer, place):
    assert draw(dreamer, "--prompt", "a pond", "--content", "in/sub/b.png", "--strength", "0", "--out", "o.png") == 0
    assert pixels("o.png").shape == (13, 21, 3)
    assert np.abs(pixels("o.png") - pixels("in/sub/b.png")).mean() < 5
    assert draw(dreamer, "--prompt", "a pond", "--content", "in/a.png", "--size", "12", "--out", "s.png") == 0
    assert pixels("s.png").shape == (12, 20, 3)
    assert draw(dreamer, "--prompt", "a pond", "--content", "in/a.png", "--max-side", "20", "--out", "m.png") == 0
    assert pixels("m.png").shape == (12, 20, 3)


def test_a_content_is_seen_as_by_the_other_methods(dreamer, place):
    turned = Image.new("RGBA", (32, 16), (255, 0, 0, 0))  # red, of which nothing is seen
    exif = Image.Exif()
    exif[274] = 6
    turned.save("turned.png", exif=exif)
    assert draw(dreamer, "--prompt", "a", "--content", "turned.png", "--strength", "0", "--out", "o.png") == 0
    assert pixels("o.png").shape == (32, 16, 3)
    assert pixels("o.png").min() == 255
    assert torch.equal(read_image("o.png"), read_image("turned.png"))


def test_a_folder_comes_out_as_a_folder(dreamer, place, capsys):
    (place / "in/bad.png").write_text("no picture")
    (place / "in/film.mp4").write_text("no film")
    assert draw(dreamer, "--prompt", "a pond", "--content", "in", "--count", "2", "--out", "out") == 0
    written = capsys.readouterr()
    assert written.out.splitlines() == ["out"]
    assert "Skipped 2 of 4 files" in written.err
    assert "film.mp4 is a video, and Dreamer would draw every frame anew" in written.err
    names = {str(path.relative_to(place / "out")) for path in (place / "out").rglob("*") if path.is_file()}
    assert names == {"a-0.png", "a-1.png", "sub/b-0.png", "sub/b-1.png"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--out o.png", "Dreamer draws from words: give --prompt TEXT"),
        ("--prompt= --out o.png", "prompt is empty"),
        ("--prompt a --size 20 --out o.png", "multiples of 8 pixels, not 20 x 20"),
        ("--prompt a --size 24x20 --out o.png", "multiples of 8 pixels, not 24 x 20"),
        ("--prompt a --size 0x8 --out o.png", "--size must be at least 1 pixel"),
        ("--prompt a --size 16x16 --content in/a.png --out o.png", "--size is one number"),
        ("--prompt a --strength 1.5 --content in/a.png --out o.png", "--strength goes from 0"),
        ("--prompt a --strength nan --content in/a.png --out o.png", "--strength goes from 0"),
        ("--prompt a --strength 0.5 --out o.png", "--strength says what happens to a content"),
        ("--prompt a --max-side 9 --out o.png", "--max-side says what happens to a content"),
        ("--prompt a --count 0 --out o.png", "--count must be at least 1"),
        ("--prompt a --batch 0 --out o.png", "--batch must be at least 1"),
        ("--prompt a --style in/a.png --out o.png", "in a style that it has learnt: leave --style away"),
        ("--prompt a --content in/a.png --box 0,0,1,1 --out o.png", "leave --box away"),
        ("--prompt a --content in/a.png --region sky=wool --out o.png", "leave --region away"),
        ("--prompt a --content in/a.png --tile 0 --out o.png", "leave --tile away"),
        ("--prompt a --alpha 1 --out o.png", "Dreamer has no control 'alpha': it has gain"),
        ("--prompt a --gain 3 --out o.png", "The control gain takes 0 to 2, not '3'"),
        ("--prompt a --content nowhere.png --out o.png", "There is no content at nowhere.png"),
        ("--prompt a --out o.txt", "o.txt cannot be written"),
        ("--prompt a --content in --out o.png", "must be one too"),
        ("--prompt a --content in/a.png --out in/a.png", "overwrite"),
        ("--prompt a --content in --out in", "overwrite"),
    ],
)
def test_bad_input_is_one_sentence(dreamer, place, capsys, arguments, words):
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert draw(dreamer, *arguments.split()) == 1
    written = capsys.readouterr()
    assert words in written.err
    assert written.err.count("\n") == 1
    assert not written.out
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--prompt a --out o.png", "Stub restyles pictures: give --content PICTURE"),
        ("--prompt a --content in/a.png --strength 0.5 --out o.png", "leave --strength away"),
        ("--prompt a --content in/a.png --count 2 --out o.png", "leave --count away"),
        ("--prompt a --content in/a.png --size 16x16 --out o.png", "leave a --size of two numbers away"),
    ],
)
def test_what_only_drawings_have_is_refused_elsewhere(trained, capsys, arguments, words):
    assert execute(["stylize", "--checkpoint", str(trained), "--device", "cpu", *arguments.split()]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_files_for_diffusers_are_no_checkpoints(dreamer, capsys):
    beside = dreamer / "checkpoints" / "last"
    for path, words in ((beside / "learned_embeds.safetensors", "is no checkpoint"), (beside, "no checkpoint in")):
        assert draw(path, "--prompt", "a pond", "--out", "o.png") == 1
        assert words in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_a_size_is_one_number_or_two(dreamer, capsys):
    for size in ("wide", "1x2x3", "x"):
        with pytest.raises(SystemExit):
            draw(dreamer, "--prompt", "a", "--size", size, "--out", "o.png")
        assert "no number of pixels, nor WIDTHxHEIGHT" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_pictures_that_do_not_fit_into_memory(dreamer, monkeypatch, capsys):
    import stub_generator

    def full(self, prompts, order):
        raise MemoryError

    monkeypatch.setattr(stub_generator.Dreamer, "_draw", full)
    assert draw(dreamer, "--prompt", "a", "--count", "4", "--out", "o.png") == 1
    assert "4 pictures of 24 x 16 pixels do not fit into memory: draw them one by one with --batch 1" in (
        capsys.readouterr().err
    )


def test_the_drawings_of_a_folder_are_scored(dreamer, place, capsys):
    assert draw(dreamer, "--prompt", "a pond", "--size", "64", "--count", "3", "--out", "drawn") == 0
    (place / "real").mkdir()
    for number in range(2):
        Image.fromarray(np.full((64, 64, 3), 90 * number, dtype=np.uint8)).save(place / f"real/{number}.png")
    options = ["--stylized", "drawn", "--style", "real", "--weights", "embedded", "--out", "t.csv"]
    assert execute(["score", "--metrics", "csd,cmmd", *options]) == 0
    assert "csd_embedded" in (place / "t.csv").read_text()
