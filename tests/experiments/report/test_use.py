"""The report in a browser, used as a person does: sort, zoom, slide, by mouse and by keyboard, in light and dark."""

import json
import os
import shutil
from pathlib import Path

import pytest

from experiments.report.page import write_report

AXE = Path(os.environ.get("IMPASTO_AXE", "node_modules/axe-core/axe.min.js"))
"""``npm install axe-core``, or what IMPASTO_AXE names."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(trained, tmp_path_factory):
    """The page of two runs of the stub."""
    root = tmp_path_factory.mktemp("report")
    for name, value in (("a", 0.25), ("b", 0.5)):
        shutil.copytree(trained, root / "runs" / name)
        path = root / "runs" / name / "summary.json"
        summary = json.loads(path.read_text())
        summary["metrics"] = {"val/ssim_content": value, "val/lpips_content_embedded": value}
        summary |= {"seed": 0, "profile": "tiny"} if name == "a" else {"seed": 1, "profile": "wide"}
        path.write_text(json.dumps(summary))
    config = root / "runs/b/config.yaml"
    config.write_text(config.read_text().replace("width: 4", "width: 8"))
    return write_report([root / "runs/a", root / "runs/b"], root / "report").page


@pytest.fixture(params=["light", "dark"])
def page(request, chromium, report):
    """The page open; in the end it has asked for nothing but itself, and no script has failed."""
    context = chromium.new_context(viewport={"width": 1300, "height": 950}, color_scheme=request.param)
    page, asked, failed = context.new_page(), [], []
    page.on("request", lambda each: asked.append(each.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert not failed


def column(page, table, number):
    return page.locator(f"{table} tbody tr").evaluate_all(
        f"rows => rows.map(row => row.cells[{number}].innerText.trim())"
    )


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_table_is_sorted(page, by):
    table = "#runs table"
    button = page.locator(f"{table} thead button.sort").first
    before = column(page, table, 0)
    for order, expected in (("ascending", sorted(before)), ("descending", sorted(before, reverse=True))):
        if by == "mouse":
            button.click()
        else:
            button.focus()
            page.keyboard.press("Enter")
        assert page.locator(f"{table} th").first.get_attribute("aria-sort") == order
        assert column(page, table, 0) == expected
        assert order in page.locator("#status").inner_text()


def test_a_picture_opens_with_a_slider_and_zooms(page):
    page.locator("button.shot:has(img[data-painted])").first.click()
    viewer = page.locator("#viewer")
    viewer.wait_for()
    slide, cut = page.locator("#viewer-slide"), "e => getComputedStyle(e).getPropertyValue('--cut').trim()"
    sheets = page.locator(".sheets")
    page.keyboard.press("ArrowRight")  # the slider has the focus
    assert sheets.evaluate(cut) == f"{slide.input_value()}%" == "51%"
    box = sheets.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert float(slide.input_value()) == pytest.approx(25, abs=1)
    page.get_by_role("button", name="2×").click()
    assert sheets.bounding_box()["width"] == pytest.approx(2 * box["width"], rel=0.01)
    title = page.locator("#viewer-title").inner_text()
    page.get_by_role("button", name="Next").click()
    assert page.locator("#viewer-title").inner_text() != title
    page.keyboard.press("Escape")
    viewer.wait_for(state="hidden")


def test_the_colours_are_those_of_the_reader(page, request):
    dark = "dark" in request.node.callspec.id
    red = page.locator("body").evaluate("e => Number(getComputedStyle(e).backgroundColor.match(/\\d+/)[0])")
    assert (red < 64) is dark


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not there: `npm install axe-core`, or set IMPASTO_AXE")
@pytest.mark.parametrize("opened", [False, True])
def test_axe_finds_no_serious_fault(page, opened):
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    if opened:
        page.locator("button.shot").first.click()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    serious = [each for each in found if each["impact"] in {"serious", "critical"}]
    assert not [(each["id"], [node["target"] for node in each["nodes"]][:5]) for each in serious]
