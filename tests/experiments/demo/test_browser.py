"""The page in a browser, used as a person does: upload, paint, slide, draw a region, hand over nonsense."""

import re
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.demo import server
from experiments.demo.choices import Choice
from experiments.demo.uploads import Limits
from lightning_modules import shipped

pytestmark = pytest.mark.slow
WAIT = 30_000  # milliseconds: this may be a busy machine


@pytest.fixture(scope="module")
def address(choices):
    pytest.importorskip("gradio")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ships = [Choice(f"embedded:{name}", Path(f"embedded:{name}")) for name in shipped.painters()]
    with server.serving([*ships, *choices], "cpu", port, Limits(side=256)) as address:
        yield address


@pytest.fixture
def tab(chromium, address):
    """A function that opens the page; in the end no request has left this machine, and no script has failed."""
    opened, asked, failed = [], [], []

    def new():
        context = chromium.new_context(viewport={"width": 1300, "height": 1000})
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name="Paint", exact=True).wait_for()
        opened.append(context)
        return page

    yield new
    for context in opened:
        context.close()
    assert {url.split("/")[2] for url in asked if "://" in url} == {address.split("/")[2]}
    assert not failed


@pytest.fixture
def photographs(tmp_path):
    """A red and a blue picture, and a file that is none."""
    for name, colour in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
        Image.fromarray(np.full((90, 120, 3), colour, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_text("no picture at all")
    return tmp_path


def upload(page, label, path):
    """Hand a file to the input of that label, whether or not it has one already."""
    block = page.locator(".block", has=page.get_by_text(label, exact=True)).first
    block.locator("input[type=file]").set_input_files(path)


def choose(page, label, value):
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=value, exact=True).click()


def paint(page, caption):
    page.get_by_role("button", name="Paint", exact=True).click()
    page.locator(".caption.prose", has_text=caption).wait_for()


def downloaded(page, name):
    with page.expect_download() as caught:
        page.get_by_role("button", name=name).click()
    return caught.value.suggested_filename, np.asarray(Image.open(caught.value.path())).astype(int)


def test_an_upload_is_painted_compared_and_saved(tab, photographs):
    page = tab()
    upload(page, "photograph", photographs / "red.png")
    page.get_by_label("prompt", exact=True).fill("Dominic Vitrail")
    paint(page, re.compile(r"Left: the photograph. Right: embedded:clast, 120 × 90 pixels, \d+\.\d s on cpu"))
    name, pixels = downloaded(page, "Download PNG, 120 × 90")
    assert name == "embedded-clast-120x90.png"
    assert pixels.shape == (90, 120, 3)
    assert pixels.std() > 5  # the photograph has one colour

    handle = page.locator(".slider-wrap .outer, [role=slider]").first
    box = handle.bounding_box()
    before = box["x"]
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 150, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert handle.bounding_box()["x"] == pytest.approx(before - 150, abs=30)

    choose(page, "compare with", "stub")
    page.get_by_role("button", name="settings of stub").wait_for()
    paint(page, re.compile("Left: embedded:clast, .* Right: stub, 120 × 90"))
    page.get_by_role("button", name="Download the right PNG, 120 × 90").wait_for()


def test_an_example_is_painted(tab):
    page = tab()
    page.locator("tbody tr").first.click()
    paint(page, re.compile("Left: the photograph. Right: embedded:clast"))


def test_only_what_a_painter_takes_is_asked_for(tab):
    page = tab()
    prompt, style = page.get_by_label("prompt", exact=True), page.get_by_text("style picture", exact=True).last
    region = page.get_by_text("region: only a part is painted")
    prompt.wait_for()
    assert not region.is_visible()
    page.get_by_label("a style picture").check()
    prompt.wait_for(state="hidden")
    choose(page, "painter", "grey")
    region.wait_for()
    prompt.wait_for()
    choose(page, "painter", "stepper")
    prompt.wait_for(state="hidden")
    style.wait_for()
    page.get_by_label("iterations").wait_for()
    choose(page, "painter", "dreamer")
    page.get_by_label("gain").first.wait_for()
    prompt.fill("a pond")
    paint(page, re.compile("dreamer, 24 × 16 pixels"))


def test_a_region_is_drawn_with_the_brush(tab, photographs):
    page = tab()
    upload(page, "photograph", photographs / "red.png")
    choose(page, "painter", "grey")
    page.get_by_label("prompt", exact=True).fill("black")
    page.get_by_text("region: only a part is painted").click()
    canvas = page.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(2000)  # the canvas fades in
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 10, y, steps=4)
    page.mouse.up()
    paint(page, "Right: grey")
    _, pixels = downloaded(page, "Download PNG")
    black = (pixels < 5).all(-1)
    assert black[45, 60]
    assert 0.005 < black.mean() < 0.5
    assert (pixels[0, 0] == (220, 30, 30)).all()


def test_a_bad_upload_is_a_sentence_and_goes(tab, photographs):
    page = tab()
    upload(page, "photograph", photographs / "broken.png")
    page.get_by_text("The photograph is not a picture, whatever its name says: convert it to PNG or JPEG.").wait_for()
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text("There is no photograph yet: upload one, or click an example.").wait_for()
    page.locator("tbody tr").first.click()
    paint(page, "Right: embedded:clast, 256 × 256 pixels")


def test_two_users_get_their_own_pictures_and_a_stop_is_ones_own(tab, photographs):
    pages = {name: tab() for name in ("red", "blue")}
    for name, page in pages.items():
        choose(page, "painter", "stub")
        page.get_by_role("button", name="settings of stub").wait_for()
        upload(page, "photograph", photographs / f"{name}.png")
        page.get_by_label("prompt", exact=True).fill("a")
        page.get_by_label("number input for alpha").fill("0")  # the photograph itself
    for page in pages.values():
        page.get_by_role("button", name="Paint", exact=True).click()
    pages["blue"].get_by_role("button", name="Download PNG").wait_for()
    pages["red"].get_by_role("button", name="Download PNG").wait_for()
    colours = {name: tuple(downloaded(page, "Download PNG")[1][0, 0]) for name, page in pages.items()}
    assert colours == {"red": (220, 30, 30), "blue": (30, 30, 220)}


def test_a_long_painting_shows_how_far_it_is_and_can_be_stopped(tab):
    page = tab()
    choose(page, "painter", "stepper")
    page.locator("tbody tr").first.click()
    page.get_by_label("iterations").fill("100000")
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text(re.compile(r"[\d.]+k?/100\.?0?k")).first.wait_for()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text(re.compile(r"/100")).first.wait_for(state="hidden")
    assert not page.get_by_text("Error", exact=True).is_visible()
    page.get_by_label("iterations").fill("2")
    paint(page, "Right: stepper, 256 × 256 pixels")
