"""Quoted spans of a prompt, which no rule may cut: straight and curly, double and single, but not apostrophes."""

import re

_FIRST = 0xE000  # private characters of Unicode stand for quoted spans
_QUOTED = re.compile(
    r'"(?P<straight>[^"]+)"'
    r"|\u201c(?P<curly>[^\u201d]+)\u201d"
    r"|\u00ab\s*(?P<angled>[^\u00bb]+?)\s*\u00bb"
    r"|(?<![\w\u2019'])\u2018(?P<single_curly>[^\u2018]+?)\u2019(?!\w)"
    r"|(?<![\w'])'(?P<single>(?=\S)[^'\n]*(?:'(?=\w)[^'\n]*)*)'(?!\w)"
)


def hide(text: str) -> tuple[str, list[str]]:
    """Put one private character in the place of every quoted span.

    Returns:
        The text, and what the characters stand for, for `reveal`.

    Examples:
        >>> hide("'white wool' on Van Gogh's chair")[1]
        ['white wool']
    """
    quotes: list[str] = []

    def keep(match: re.Match[str]) -> str:
        quotes.append(" ".join(next(group for group in match.groups() if group is not None).split()))
        return chr(_FIRST + len(quotes) - 1)

    return _QUOTED.sub(keep, text), quotes


def reveal(text: str, quotes: list[str]) -> str:
    """Put quoted spans back, without their marks."""
    for number, quote in enumerate(quotes):
        text = text.replace(chr(_FIRST + number), quote)
    return text
