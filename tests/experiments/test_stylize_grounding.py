"""`impasto stylize` with prompts that say where."""

import pathlib

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import experiments.painting.grounding as grounding
from experiments.cli import execute
from experiments.painting.overlay import draw_regions
from lightning_modules.grounding.regions import NotFoundError, region_of

SHADES = {"black": 0, "grey": 100, "white": 255}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A photograph, and the YAML of a method that paints a style's grey."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(1, 255, (24, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("a.png")
    settings = {"model": {"class_path": "stub_method.Grey"}, "data": {"class_path": "stub_method.StubData"}}
    (tmp_path / "grey.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(grounding, "find_grounder", lambda *_: Columns())
    return pixels


class Columns:
    """Finds the house on the left, the sky, which it touches, and two dogs."""

    PLACES = {"house": [(0, 10)], "sky": [(8, 20)], "dogs": [(0, 2), (30, 32)]}  # noqa: RUF012

    def ground(self, image, phrase):
        if phrase not in self.PLACES:
            raise NotFoundError(f"There is no {phrase}.")
        regions = []
        for x0, x1 in self.PLACES[phrase]:
            mask = torch.zeros(1, *image.shape[-2:])
            mask[..., x0:x1] = 1
            regions.append(region_of(mask, 0.75, "columns"))
        return regions


def stylize(*arguments, content="a.png"):
    return execute(
        ["stylize", "--config", "grey.yaml", "--device", "cpu", "--content", content, "--out", "o.png", *arguments]
    )


def painted(pixels, **columns):
    expected = pixels.copy()
    for style, (x0, x1) in columns.items():
        expected[:, x0:x1] = SHADES[style]
    return expected


def result(name="o.png"):
    return np.asarray(Image.open(name))


def test_every_region_of_a_prompt_is_painted_and_all_else_keeps_every_bit(place, capsys):
    assert stylize("--prompt", "apply black style to the house and paint the sky in white") == 0
    written = capsys.readouterr()
    assert np.array_equal(result(), painted(place, black=(0, 10), white=(8, 20)))
    assert "house: black (25.0% of the picture, found by columns, score 0.75)" in written.out
    assert written.out.splitlines()[-1] == "o.png"
    assert "'sky' covers 20.0% of 'house': there, the later style is seen." in written.err


def test_the_order_of_the_clauses_decides(place):
    assert stylize("--prompt", "sky: white; house: black") == 0
    assert np.array_equal(result(), painted(place, white=(8, 20), black=(0, 10)))


def test_the_regions_are_drawn_beside_the_result(place, capsys):
    assert stylize("--prompt", "house: black") == 0
    assert "o.grounding.png" in capsys.readouterr().out
    drawn = result("o.grounding.png").astype(int)
    assert drawn.shape == place.shape
    assert np.abs(drawn[20:, 12:] - place[20:, 12:]).max() <= 1
    assert np.abs(drawn[20:22, 3:7] - place[20:22, 3:7]).min(-1).max() > 10


def test_a_region_may_be_several_things_or_all_but_one(place):
    assert stylize("--prompt", "dogs: black") == 0
    assert np.array_equal(result(), painted(painted(place, black=(0, 2)), black=(30, 32)))
    assert stylize("--prompt", "paint everything except the house in white") == 0
    assert np.array_equal(result(), painted(place, white=(10, 40)))
    assert stylize("--prompt", "paint the house in black and the background in white") == 0
    assert np.array_equal(result(), painted(place, black=(0, 10), white=(10, 40)))


def test_a_prompt_without_a_region_paints_the_whole_picture(place, tmp_path):
    assert stylize("--prompt", "white") == 0
    assert (result() == 255).all()
    assert not (tmp_path / "o.grounding.png").exists()


def test_regions_one_by_one_bypass_the_parser(place):
    assert stylize("--region", "sky=black", "--region", "0,0,8,24=white", "--grounder", "box") == 0
    assert np.array_equal(result(), painted(place, black=(8, 20), white=(0, 8)))


def test_a_mask_among_the_regions(place):
    mask = np.zeros((24, 40), np.uint8)
    mask[:, 30:] = 255
    Image.fromarray(mask).save("m.png")
    assert stylize("--region", "m.png=black", "--region", "the rest=white") == 0
    assert np.array_equal(result(), painted(place, black=(30, 40), white=(0, 30)))


def test_a_soft_border_shows_the_region_below(place):
    soft = np.zeros((24, 40), np.uint8)
    soft[:, :10] = 51  # a fifth
    Image.fromarray(soft).save("m.png")
    assert stylize("--region", "house=black", "--region", "m.png=white") == 0
    # Over black, a fifth of white; the stub itself does not blend, so what the content gave is taken away again.
    content = place[:, :8] / 255
    assert np.allclose(result()[:, :8] / 255, np.clip(1 + 0.8 * (0 - content), 0, 1), atol=0.01)


def test_outside_its_region_a_painting_changes_no_bit_even_of_floats():
    content = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))
    left, right = torch.zeros(1, 8, 12), torch.zeros(1, 8, 12)
    left[..., :5], right[..., 4:8] = 1, 0.3
    found = [
        grounding.Found(grounding.Task(name, None), region_of(mask, 1.0, "test"))
        for name, mask in (("a", left), ("b", right))
    ]
    paintings = {"a": torch.full_like(content, 0.1), "b": torch.full_like(content, 0.9)}
    painted, touched = grounding.paint_regions(content, found, lambda style, _: paintings[style])
    assert torch.equal(painted[..., 8:], content[..., 8:])
    assert torch.equal(painted[..., :4], paintings["a"][..., :4])
    assert torch.equal(touched, torch.maximum(left, right))


def test_a_point_on_a_thing_and_the_way_that_finds_it(place, capsys):
    pixels = np.full((24, 40, 3), 60, np.uint8)
    pixels[6:18, 10:22] = (220, 160, 40)
    Image.fromarray(pixels).save("b.png")
    assert stylize("--prompt", "black", "--point", "0.4,0.5", "--grounder", "grabcut", content="b.png") == 0
    expected = pixels.copy()
    expected[6:18, 10:22] = 0
    assert (result() == expected).all(-1).mean() > 0.95
    assert "0.4,0.5: black" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prompt", "paint the house"), "names no style: write 'apply STYLE to the REGION'"),
        (("--prompt", "house: black; house: white"), "Two styles are asked for 'house'"),
        (("--prompt", "cat: black"), "There is no cat."),
        (("--prompt", "house: black; sky: white", "--box", "0,0,9,9"), "0,0,9,9 cannot be house and sky at once"),
        (("--prompt", "house: black", "--box", "50,0,60,9"), "outside the picture of 40 x 24 pixels"),
        (("--prompt", "house: black", "--box", "50,0,60,9", "--grounder", "box"), "outside the picture of 40 x 24"),
        (("--prompt", "house: black", "--point", "50,1"), "The point 50,1 lies outside the picture of 40 x 24"),
        (("--prompt", "house: black", "--point", "50"), "A point is two numbers"),
        (("--prompt", "house: black", "--box", "1,1,9,9", "--grounder", "llava"), "does not find what a box"),
        (("--prompt", "house: black", "--mask", "a.png", "--point", "1,1"), "leave --point away"),
        (("--region", "house=black", "--prompt", "white"), "--region says both place and style"),
        (("--region", "house=black", "--region", "House=white"), "Two styles are asked for 'house'"),
        (("--prompt", "black", "--mask", "empty.png"), "The mask is empty"),
        (("--prompt", "black", "--box", "1,1,9,9", "--sam", "no.pth"), "The weights of SAM are not at no.pth"),
    ],
)
def test_what_does_not_fit_is_one_sentence(place, capsys, tmp_path, arguments, words):
    Image.new("L", (7, 7)).save("empty.png")
    assert stylize(*arguments) == 1
    written = capsys.readouterr()
    assert words in written.err
    assert len(written.err.strip().splitlines()) <= 2
    assert not (tmp_path / "o.png").exists()


def test_a_region_without_a_style_is_a_wrong_command_line(place, capsys):
    with pytest.raises(SystemExit):  # argparse's own way
        stylize("--region", "house")
    assert "'house' is not PLACE=STYLE" in capsys.readouterr().err


def test_a_method_that_takes_no_regions_says_so(place, trained, capsys):
    arguments = ("--content", "a.png", "--out", "o.png", "--device", "cpu")
    assert execute(["stylize", "--checkpoint", str(trained), *arguments, "--region", "house=black"]) == 1
    assert "Stub takes no region in words: leave --region away" in capsys.readouterr().err


def test_the_grounder_s_picture_never_overwrites_what_is_read(place, capsys, tmp_path):
    Image.fromarray(place).save("o.grounding.png")
    assert stylize("--prompt", "house: black", content="o.grounding.png") == 1
    assert "would overwrite" in capsys.readouterr().err
    assert np.array_equal(result("o.grounding.png"), place)


def test_what_is_not_understood_is_said(place, capsys):
    assert stylize("--prompt", "apply black to the house but leave the sky") == 0
    assert "Not understood, and left out of the prompt: 'leave the sky'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["deep", "clear", "turned", "grey"])
def test_all_kinds_of_pictures_keep_their_numbers_outside_the_region(place, kind):
    from datamodules.originals import Original, encode_png, read_original

    noise = np.random.default_rng(1)
    if kind == "deep":
        values = noise.integers(0, 65536, (24, 40, 3)).astype(np.uint16)
        with pathlib.Path("k.png").open("wb") as file:
            file.write(encode_png(Original(values)))
    elif kind == "turned":
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(place).transpose(Image.Transpose.ROTATE_90).save("k.png", exif=exif)
        values = place
    else:
        channels = 4 if kind == "clear" else 1
        values = noise.integers(0, 256, (24, 40, channels)).astype(np.uint8)
        Image.fromarray(values.squeeze()).save("k.png")
    assert stylize("--prompt", "house: black", content="k.png") == 0
    kept = read_original(grounding.Path("o.png")).numbers
    assert kept.dtype == values.dtype
    assert np.array_equal(kept[:, 10:], np.broadcast_to(values, kept.shape)[:, 10:])
    inside = kept[:, :10, :3] if kind != "clear" else kept[:, :10, :3][values[:, :10, 3] == 255]
    assert (inside == 0).all()


def test_long_pictures_are_drawn_smaller():
    mask = torch.ones(1, 30, 3000)
    assert draw_regions(torch.rand(3, 30, 3000), [("a", region_of(mask, 1.0, "b"))]).shape == (3, 13, 1280)
