"""Build the documentation site: python -m docs.site.build --out build/site.

The pages are the Markdown files that `docs/index.md` lists, moved to where the site has them, and a reference made of
docstrings. A link that leads nowhere, a page that nobody lists, and whatever a browser would fetch from elsewhere end
the build.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from docs.site.pages import Book
from lightning_modules.errors import ImpastoError

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
FETCHED_BY_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")


def write_sources(root: Path, out: Path) -> Path:
    """Write what Zensical reads, and return the file that tells it so.

    Args:
        root: The repository.
        out: An empty folder for the sources; the site goes there too, for Zensical writes nowhere else.

    Raises:
        ImpastoError: If a link leads nowhere, or a page is not listed.
    """
    import yaml

    book = Book(root)
    pages = out / "pages"
    book.write(pages)
    (pages / "assets").mkdir(exist_ok=True)
    shutil.copyfile(HERE / "iframe-worker.js", pages / "assets" / "iframe-worker.js")
    # Appended as text: the settings name a function, which only Zensical's own loader of YAML makes.
    places = {"docs_dir": "pages", "site_dir": "site", "nav": book.navigation()}
    settings = out / "mkdocs.yml"
    own = (HERE / "settings.yml").read_text(encoding="utf-8")
    settings.write_text(own + yaml.safe_dump(places, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return settings


def build(root: Path, out: Path, site: Path) -> Path:
    """Build the site, and return its first page.

    Args:
        root: The repository.
        out: A folder for what is written on the way; it is emptied.
        site: Where the site goes; it is emptied, too.

    Raises:
        ImpastoError: If Zensical is missing, or anything is wrong with the pages.
    """
    if find_spec("zensical") is None:
        raise ImpastoError("The site is built by Zensical, which is not installed: run `make docs`.")
    for folder in (out, site):
        shutil.rmtree(folder, ignore_errors=True)
    settings = write_sources(root, out)
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(settings)],
        env=os.environ | {"NO_COLOR": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        told = (done.stdout + done.stderr).partition("Traceback")[0].strip()
        raise ImpastoError(f"Zensical found something wrong with the pages:\n{told}")
    shutil.move(out / "site", site)
    fetched = fetched_from_elsewhere(site)
    if fetched:
        raise ImpastoError(f"The site would fetch {fetched[0]} from elsewhere: it must work without a network.")
    return site / "index.html"


def fetched_from_elsewhere(site: Path) -> list[str]:
    """Return the addresses that a browser fetches by itself when it shows the site."""
    pages = "\n".join(file.read_text(encoding="utf-8") for file in site.rglob("*.html"))
    styles = "\n".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    return sorted({*FETCHED.findall(pages), *FETCHED_BY_STYLES.findall(pages + styles)})


def main(arguments: list[str] | None = None) -> None:
    """Build the site and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="folder of the site; it is emptied")
    options = parser.parse_args(arguments)
    try:
        first = build(ROOT, options.out.resolve().with_name("site-sources"), options.out.resolve())
    except ImpastoError as error:
        sys.exit(str(error))
    print(os.path.relpath(first))


if __name__ == "__main__":
    main()
