"""Prompts such as "apply cubism to the house and watercolor to the sky": which style goes where, by rules."""

import re
from typing import NamedTuple

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.clauses import Found, find_clause, is_kept, lacks_style, split_clauses
from lightning_modules.grounding.quotes import hide, reveal

FORMS = (
    "'apply STYLE to the REGION', 'paint the REGION in STYLE', 'make the REGION look like STYLE', "
    "'give the REGION a STYLE texture' or 'REGION: STYLE'"
)
_ARTICLE = re.compile(r"^(?:the|an?)\s+", re.I)
_OWNED = re.compile(
    r"^(?:(?:just|only)\s+)?(?:(?:to|onto)\s+)?(?:(?P<all>all|both|each|every)\s+(?:of\s+)?)?"
    r"(?:(?:the|an?|my|your|his|her|our|their|this|that|these|those)\s+)?",
    re.I,
)
_STYLE_HEAD = re.compile(r"^(?:in\s+)?(?:(?:the|a)\s+)?(?:style|manner|look|texture)\s+of\s+", re.I)
_STYLE_TAIL = re.compile(r"(?:\s+|^)(?:style|texture|look)$", re.I)
_ONLY = re.compile(r"\s+(?:only|just)$", re.I)
_POSSESSIVE = re.compile(r"['\u2019]s?$")
_PICTURE = r"(?:image|picture|photo|photograph|scene)"
_WHOLE = re.compile(rf"(?:it|this|that|everything|(?:(?:the|this|my|whole|entire|full|complete)\s+)*{_PICTURE})?", re.I)
_OUTSIDE = re.compile(
    r"(?:(?:everything|all|anything)\s+(?:except(?:\s+for)?|but|apart\s+from|besides|outside(?:\s+of)?|around|not)"
    r"|outside(?:\s+of)?|(?:the\s+)?background\s+(?:of|behind|around))\s+(?P<names>.+)",
    re.I | re.S,
)
_REST = re.compile(r"(?:the\s+)?rest(?:\s+of\s+.+)?|everything\s+else|all\s+else", re.I)
_UNION = re.compile(r"\s*(?:,\s*and\s+|,|\s+and\s+|\s+&\s+|\s+plus\s+)\s*", re.I)


class Where(NamedTuple):
    """A part of a picture, in words.

    Attributes:
        names: What to look for; several are one region together.
        outside: All but that. Without a name it is what no other region covers.
    """

    names: tuple[str, ...]
    outside: bool = False

    def __str__(self) -> str:
        named = " and ".join(self.names)
        if not self.outside:
            return named
        return f"everything except {named}" if named else "the rest"


class Clause(NamedTuple):
    """One style for one region.

    Attributes:
        style: As the user wrote it, less verb, article and a trailing "style", "texture" or "look".
        where: None for the whole picture.
    """

    style: str
    where: Where | None = None


class Prompt(NamedTuple):
    """What a prompt asks for.

    Attributes:
        clauses: In their order; later ones are painted over earlier ones.
        remainder: The words that were not understood.
    """

    clauses: tuple[Clause, ...]
    remainder: str = ""


def parse_prompt(text: str) -> Prompt:
    """Read styles and regions from a prompt.

    Args:
        text: One or several clauses in any of `FORMS`; what matches none is a style for the whole picture.

    Raises:
        ImpastoError: If a style is missing, or one region is to have two.

    Examples:
        >>> for clause in parse_prompt("apply cubism to the house and 'white wool' to the sky and the sea").clauses:
        ...     print(clause.where, "-", clause.style)
        house - cubism
        sky and sea - white wool
        >>> parse_prompt("Starry Night by Van Gogh").clauses
        (Clause(style='Starry Night by Van Gogh', where=None),)

    Source: LEAST, section 4, "apply <style> style to <region> in the image", and what users write beside that.
    """
    hidden, quotes = hide(text)
    clauses: list[Clause] = []
    left: list[str] = []
    pieces = split_clauses(hidden)
    for piece in pieces:
        found = find_clause(piece)
        if is_kept(piece) or (found is None and not lacks_style(piece) and len(pieces) > 1):
            left.append(piece)
            continue
        if found is None and lacks_style(piece):
            raise no_style(text)
        found = found or Found(style=piece)
        left.append(found.before)
        clauses.append(_clause(found, quotes, text))
    if not clauses:
        raise no_style(text)
    remainder = " ".join(reveal(words, quotes) for words in left if words)
    return Prompt(settled(clauses), remainder)


def parse_where(text: str) -> Where | None:
    """Read a region in words, such as "the sky and the sea" or "everything except the house".

    Returns:
        None for the whole picture.

    Examples:
        >>> parse_where("everything except the house")
        Where(names=('house',), outside=True)
    """
    hidden, quotes = hide(text)
    return _where(hidden, quotes)


def settled(clauses: list[Clause], *, others: bool = False) -> tuple[Clause, ...]:
    """Return clauses without repetitions; beside other regions, the background is what these leave.

    Args:
        clauses: In their order.
        others: Whether there are regions beside those in words.

    Raises:
        ImpastoError: If one region is to have two styles, or there is nothing of which to paint the rest.
    """
    named = others or any(clause.where and clause.where.names and not _is_background(clause) for clause in clauses)
    clauses = [clause._replace(where=Where((), True)) if named and _is_background(clause) else clause
               for clause in clauses]  # fmt: skip
    styles: dict[object, Clause] = {}
    for clause in clauses:
        first = styles.setdefault(_key(clause), clause)
        if first.style.casefold() != clause.style.casefold():
            place = "the whole picture" if first.where is None else f"'{first.where}'"
            raise ImpastoError(
                f"Two styles are asked for {place}, '{first.style}' and '{clause.style}': give each region one."
            )
    if not named and any(clause.where == Where((), True) for clause in clauses):
        raise ImpastoError("The rest of what? Name the other regions, or paint 'everything except the REGION'.")
    return tuple(styles.values())


def no_style(text: str) -> ImpastoError:
    """Return the complaint about a prompt without a style."""
    return ImpastoError(f"The prompt '{text.strip()}' names no style: write {FORMS}.")


def _is_background(clause: Clause) -> bool:
    return clause.where is not None and [name.casefold() for name in clause.where.names] == ["background"]


def _key(clause: Clause) -> object:
    if clause.where is None:
        return None
    return frozenset(name.casefold() for name in clause.where.names), clause.where.outside


def _clause(found: Found, quotes: list[str], text: str) -> Clause:
    style = _clean_style(found.style, quotes)
    if not style:
        raise no_style(text)
    return Clause(style, _where(found.region, quotes))


def _clean_style(hidden: str, quotes: list[str]) -> str:
    words = _trim(hidden)
    words = _STYLE_HEAD.sub("", _ONLY.sub("", words))
    words = _ARTICLE.sub("", words)
    if words.casefold() in {"style", "texture", "look", "a", "an", "the"}:
        return ""
    shorter = _STYLE_TAIL.sub("", words)
    if shorter != words:  # "Monet's style" is Monet, "Van Gogh's wheat field" is not Van Gogh wheat field
        shorter = _POSSESSIVE.sub("", shorter)
    return reveal(_trim(shorter), quotes)


def _where(hidden: str, quotes: list[str]) -> Where | None:
    words = _trim(hidden)
    if _WHOLE.fullmatch(words):
        return None
    if _REST.fullmatch(words):
        return Where((), True)
    outside = _OUTSIDE.fullmatch(words)
    names = _UNION.split(outside["names"] if outside else words)
    cleaned = dict.fromkeys(reveal(_OWNED.sub(_kept_quantity, _trim(name)), quotes) for name in names)
    return Where(tuple(name for name in cleaned if name), outside is not None)


def _kept_quantity(match: re.Match[str]) -> str:
    return f"{match['all']} " if match["all"] else ""


def _trim(words: str) -> str:
    return " ".join(words.split()).strip(' .,;:!?"\u201c\u201d')
