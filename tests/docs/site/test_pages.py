from pathlib import Path, PurePosixPath

import pytest

from docs.site.pages import Book
from docs.site.reference import definitions, place
from lightning_modules.errors import ImpastoError

ROOT = Path(__file__).parents[3]
INDEX = """# All

## Start

- [Read me](../README.md): first.

## Methods

- [One](../lightning_modules/one/README.md) and [what was
  measured](one.md): both on a page.
"""
MODULE = """
class Net:
    def run(self): ...
    def _step(self): ...

def loss(): ...
"""


@pytest.fixture
def repository(tmp_path):
    """Write a small repository of pages."""
    texts = {
        "README.md": "# Mine\n\n[one](lightning_modules/one/), [measured](docs/one.md#speed), ![](docs/pictures/a.png)",
        "docs/index.md": INDEX,
        "docs/one.md": "# One: measured\n\n## Speed\n\n[the license](../LICENSE), [a page](a.html)\n",
        "docs/a.html": "<p>",
        "docs/pictures/a.png": "",
        "LICENSE": "free",
        "lightning_modules/__init__.py": "",
        "lightning_modules/one/__init__.py": "",
        "lightning_modules/one/net.py": MODULE,
        "lightning_modules/one/README.md": "# One\n\n[`net.py:Net._step`](net.py), [`loss`](net.py), [x](https://a.b)\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for package in ("datamodules", "callbacks", "metrics"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    return tmp_path


def written(repository, page):
    Book(repository).write(repository / "out")
    return (repository / "out" / page).read_text()


def test_files_of_one_item_are_one_page(repository):
    text = written(repository, "methods/one.md")
    assert text.index("# One\n") < text.index("## One: measured") < text.index("### Speed")


def test_links_lead_to_where_the_site_has_it(repository):
    assert "[one](methods/one.md), [measured](methods/one.md#speed), ![](files/docs/pictures/a.png)" in written(
        repository, "index.md"
    )
    text = written(repository, "methods/one.md")
    page = "../reference/lightning_modules.one.md#lightning_modules.one.net"
    assert f"[`net.py:Net._step`]({page}.Net), [`loss`]({page}.loss), [x](https://a.b)" in text
    assert "[the license](../files/LICENSE.txt), [a page](../files/docs/a.html)" in text
    assert (repository / "out/files/LICENSE.txt").read_text() == "free"
    assert (repository / "out/files/docs/pictures/a.png").is_file()


@pytest.mark.parametrize("link", ["nope.md", "one.md#nope", "../../outside.md", "#nope"])
def test_a_link_that_leads_nowhere_is_named(repository, link):
    (repository / "docs/one.md").write_text(f"# One\n\n## Speed\n\n[broken]({link})\n")
    with pytest.raises(ImpastoError, match=f"docs/one.md links to {link}, and there is no such"):
        Book(repository).write(repository / "out")


def test_a_page_that_nobody_lists_is_named(repository):
    (repository / "docs/lost.md").write_text("# Lost\n")
    with pytest.raises(ImpastoError, match=r"docs/lost.md .* list it in docs/index.md"):
        Book(repository)


def test_a_method_that_nobody_lists_has_a_page(repository):
    (repository / "lightning_modules/two").mkdir()
    (repository / "lightning_modules/two/README.md").write_text("# TwO\n")
    page = next(page for page in Book(repository).pages if page.title == "TwO")
    assert (page.group, str(page.path)) == ("Methods", "methods/two.md")


def test_what_is_private_is_found_at_what_holds_it():
    file = PurePosixPath("lightning_modules/clast/module.py")
    page = "reference/lightning_modules.clast.md#lightning_modules.clast.module"
    assert place(ROOT, file, "CLAST._contrast") == f"{page}.CLAST"
    assert place(ROOT, file, "CLAST.image_code") == f"{page}.CLAST.image_code"
    assert place(ROOT, file, "no name") == page
    assert place(ROOT, PurePosixPath("experiments/cli.py"), "run") is None
    assert {"CLAST", "CLAST._contrast"} <= definitions(ROOT / file)


def test_every_link_of_the_repository_leads_somewhere(tmp_path):
    book = Book(ROOT)
    book.write(tmp_path)
    assert (tmp_path / "index.md").is_file()
    assert len(list((tmp_path / "methods").glob("*.md"))) >= 9
    assert {"Start", "Methods", "Reference"} <= {group for entry in book.navigation() for group in entry}
