import re
from pathlib import Path

import pytest

from docs.site import build as site
from lightning_modules.errors import ImpastoError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the site of this repository, strictly."""
    folder = tmp_path_factory.mktemp("site")
    return site.build(ROOT, folder / "sources", folder / "site").parent


def test_pages_show_equations_measurements_and_docstrings(built):
    page = (built / "methods/clast.html").read_text()
    assert "directional_clip_loss" in page
    assert re.search(r"<h2[^>]*>CLAST: what was measured", page)
    losses = (built / "reference/lightning_modules.losses.html").read_text()
    assert 'id="lightning_modules.losses.directional_clip.directional_clip_loss"' in losses
    assert (
        "reference/lightning_modules.losses.html#lightning_modules.losses.directional_clip.directional_clip_loss"
        in page
    )


def test_the_search_knows_pages_and_functions(built):
    index = (built / "search.json").read_text()
    assert "Ada Stipple" in index
    assert "supervised_contrastive_loss" in index


def test_nothing_is_fetched_from_elsewhere(built, tmp_path):
    assert site.fetched_from_elsewhere(built) == []
    for number, text in enumerate(
        ["<script async src=https://a.b/c.js>", '<link rel="stylesheet" href="//a.b/c.css">']
    ):
        (tmp_path / f"{number}.html").write_text(text)
    (tmp_path / "x.css").write_text("@font-face { src: url('https://a.b/c.woff') }")
    assert site.fetched_from_elsewhere(tmp_path) == ["//a.b/c.css", "https://a.b/c.js", "https://a.b/c.woff"]
    (tmp_path / "0.html").write_text('<a href="https://a.b">a link may lead elsewhere</a>')
    assert site.fetched_from_elsewhere(tmp_path) == ["//a.b/c.css", "https://a.b/c.woff"]


def test_without_zensical_a_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(site, "find_spec", lambda name: None)
    with pytest.raises(ImpastoError, match="run `make docs`"):
        site.build(ROOT, tmp_path / "a", tmp_path / "b")
