"""The pages of the site, made of the Markdown that the repository holds anyway; `docs/index.md` lists them.

An item of that list is a page: ``[title](file)``, and where more files are named before the colon, these below it. A
method that it does not know has a page among the methods all the same.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from docs.site import reference
from docs.site.links import anchors, demoted, links, with_links
from lightning_modules.errors import ImpastoError

CONTENTS = PurePosixPath("docs/index.md")
METHODS = PurePosixPath("lightning_modules")
EVERYTHING = ("*.md", "docs/**/*.md", "lightning_modules/**/README.md", "assets/**/*.md")
PLACES = {"README.md": "index.md", "docs/index.md": "contents.md"}
PICTURES = {".jpg", ".png", ".webp"}


@dataclass(frozen=True)
class Page:
    """A page of the site.

    Attributes:
        title: In the navigation.
        group: Of the navigation.
        path: In the site's sources.
        files: What it is made of, in the repository.
    """

    title: str
    group: str
    path: PurePosixPath
    files: tuple[PurePosixPath, ...]


class Book:
    """All pages, and where everything that they link to has gone.

    Args:
        root: The repository.

    Raises:
        ImpastoError: If a file is not listed in `docs/index.md`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pages = list(_listed(root))
        listed = {file for page in self.pages for file in page.files}
        for file in sorted(set(_all(root)) - listed):
            if file.parent.parent != METHODS:
                raise ImpastoError(f"{file} is a page that nobody finds: list it in {CONTENTS}.")
            self.pages.append(Page(_title(root / file), "Methods", _place(file), (file,)))
        self._page_of = {file: page for page in self.pages for file in page.files}

    def write(self, out: Path) -> None:
        """Write the sources of all pages, and what they show, into a folder.

        Raises:
            ImpastoError: If a link leads nowhere.
        """
        for page in self.pages:
            file = out / page.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text(page, out), encoding="utf-8")
        for package, text in reference.pages(self.root).items():
            file = out / reference.path(package)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def text(self, page: Page, out: Path) -> str:
        """Return the source of a page, and copy what it shows into the folder of all.

        Raises:
            ImpastoError: If a link leads nowhere.
        """
        parts = []
        for number, file in enumerate(page.files):
            whole = (self.root / file).read_text(encoding="utf-8")
            moved = with_links(whole, partial(self._moved, page, file, out))
            parts.append(demoted(moved) if number else moved)
        return "\n".join(parts)

    def navigation(self) -> list[dict[str, object]]:
        """Return the navigation: the first page, the groups, and the reference."""
        groups: dict[str, list[dict[str, str]]] = {}
        for page in self.pages:
            groups.setdefault(page.group, []).append({page.title: str(page.path)})
        named: list[dict[str, object]] = [{group: entries} for group, entries in groups.items()]
        return [*named, {"Reference": reference.navigation(self.root)}]

    def _moved(self, page: Page, file: PurePosixPath, out: Path, label: str, target: str) -> str:
        if re.match(r"[a-z]+:", target):
            return target
        name, _, fragment = target.partition("#")
        there = PurePosixPath(os.path.normpath(file.parent / name)) if name else file
        if not (self.root / there).exists() or there.is_absolute() or ".." in there.parts:
            raise ImpastoError(f"{file} links to {target}, and there is no such file.")
        there = self._readable(there)
        if fragment and there in self._page_of:
            if fragment not in anchors((self.root / there).read_text(encoding="utf-8")):
                raise ImpastoError(f"{file} links to {target}, and there is no such heading.")
            return f"{_relative(self._page_of[there].path, page.path)}#{fragment}"
        if there in self._page_of:
            return _relative(self._page_of[there].path, page.path)
        described = reference.place(self.root, there, label.strip("`").rpartition(":")[2])
        return _relative(described or self._copied(there, file, out), page.path)

    def _readable(self, there: PurePosixPath) -> PurePosixPath:
        """Return what to read of a folder: its README or its model card."""
        names = ("README.md", "MODEL_CARD.md") if (self.root / there).is_dir() else ()
        return next((there / name for name in names if there / name in self._page_of), there)

    def _copied(self, there: PurePosixPath, file: PurePosixPath, out: Path) -> str:
        if (self.root / there).is_dir():
            raise ImpastoError(f"{file} links to the folder {there}, which has neither a README nor Python in it.")
        # A browser shows text, and would save what it does not know.
        copy = f"files/{there}" if there.suffix in {*PICTURES, ".html"} else f"files/{there}.txt"
        (out / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / there, out / copy)
        return copy


def _listed(root: Path) -> Iterator[Page]:
    """Read the list of pages."""
    text = (root / CONTENTS).read_text(encoding="utf-8")
    group = ""
    for block in re.split(r"\n(?=- |#|\n)", text):
        if block.startswith("## "):
            group = block.removeprefix("## ").strip()
        if not block.startswith("- "):
            continue
        found = list(links(re.split(r":\s", block, maxsplit=1)[0]))
        files = tuple(PurePosixPath(os.path.normpath(CONTENTS.parent / target)) for _, target in found)
        missing = [file for file in files if not (root / file).is_file()]
        if missing:
            raise ImpastoError(f"{CONTENTS} lists {missing[0]}, and there is no such file.")
        yield Page(found[0][0], group, _place(files[0]), files)
    yield Page("All pages", group, _place(CONTENTS), (CONTENTS,))


def _title(file: Path) -> str:
    """Return the first heading."""
    found = re.search(r"^# (.+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else file.parent.name


def _place(file: PurePosixPath) -> PurePosixPath:
    if str(file) in PLACES:
        return PurePosixPath(PLACES[str(file)])
    if file.name == "README.md":
        return PurePosixPath("methods", f"{file.parent.name}.md")
    return file.relative_to("docs") if file.parts[0] == "docs" else PurePosixPath(file.name.lower())


def _all(root: Path) -> Iterator[PurePosixPath]:
    for pattern in EVERYTHING:
        yield from (PurePosixPath(file.relative_to(root).as_posix()) for file in root.glob(pattern))


def _relative(target: PurePosixPath | str, source: PurePosixPath) -> str:
    path, sharp, fragment = str(target).partition("#")
    return os.path.relpath(path, source.parent).replace(os.sep, "/") + sharp + fragment
