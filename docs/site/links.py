"""Markdown outside of code: its links and its headings."""

import re
from collections.abc import Callable, Iterator
from itertools import groupby

LINK = re.compile(r"(?P<open>!?\[(?P<label>[^\]]*)\]\()(?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
FENCE = re.compile(r"\s*(```|~~~)")


def parts(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the text in parts, and whether each is prose: code between fences and the fences themselves are not."""

    def lines() -> Iterator[tuple[str, bool]]:
        fence = ""
        for line in text.splitlines(keepends=True):
            found = FENCE.match(line)
            if found and fence in ("", found[1]):
                fence = "" if fence else found[1]
                yield line, False
            else:
                yield line, not fence

    for prose, group in groupby(lines(), key=lambda line: line[1]):
        yield "".join(line for line, _ in group), prose


def links(text: str) -> Iterator[tuple[str, str]]:
    """Yield label and target of every link and picture.

    Examples:
        >>> list(links("[a](b.md) and ![](c.png)"))
        [('a', 'b.md'), ('', 'c.png')]
    """
    for part, prose in parts(text):
        if prose:
            yield from ((found["label"], found["target"]) for found in LINK.finditer(part))


def with_links(text: str, change: Callable[[str, str], str]) -> str:
    """Return the text with other targets.

    Args:
        text: Markdown.
        change: From label and target to the new target.
    """

    def changed(found: re.Match[str]) -> str:
        return f"{found['open']}{change(found['label'], found['target'])})"

    return "".join(LINK.sub(changed, part) if prose else part for part, prose in parts(text))


def demoted(text: str) -> str:
    """Return the text with every heading one level deeper, to stand below another."""
    return "".join(re.sub(r"^(?=#+ )", "#", part, flags=re.MULTILINE) if prose else part for part, prose in parts(text))


def anchors(text: str) -> set[str]:
    """Return the anchors of all headings, as GitHub makes them, and those that are set by hand.

    Examples:
        >>> anchors("# A metric's `name`, and more")
        {'a-metrics-name-and-more'}
    """
    prose = "".join(part for part, readable in parts(text) if readable)
    titles = (LINK.sub(lambda link: link["label"], title.strip()).lower() for title in HEADING.findall(prose))
    by_hand = re.findall(r"<a name=\"([^\"]+)\"", prose)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles} | set(by_hand)
