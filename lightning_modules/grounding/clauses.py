"""The clauses of a prompt: where one ends, and which of its words are the style and which the region."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

_SEPARATOR = re.compile(
    r"(\s*(?:;|\n|\.(?=\s)|,?\s+(?:and\s+)?then\s+|,\s*(?:and|while|but)\s+|,|\s+(?:and|while)\s+"
    r"|\s+but\s+(?=(?:\w+\s+(?:the|a)|leave|keep)\b)|\s*&)\s*)",
    re.I,
)
_HARD = {";", ""}  # a semicolon, or the end of a line
_KEPT = re.compile(r"(?:leave|keep|do\s+not|don['\u2019]t|without\s+(?:touching|changing))\b", re.I)
_DETERMINERS = "the|all|both|every|each|my|your|his|her|our|their|this|that|these|those|everything|anything|a|an"
_BEFORE_REGION = rf"(?=(?:{_DETERMINERS}|background|outside|it)\b)"
_POLITE = re.compile(
    r"^(?:(?:please|now|then|also|and|kindly|just|(?:can|could|would)\s+you|i(?:'d|\s+would)\s+like\s+(?:you\s+)?to"
    r"|i\s+want\s+(?:you\s+)?to)[\s,]+)+|(?:[\s,]+(?:please|thanks|thank\s+you)[\s.!]*)+$",
    re.I,
)
_IN_PICTURE = re.compile(
    r"\s+(?:in|of|on|from)\s+(?:the|this|my)\s+(?:image|picture|photo|photograph)(?=\s*(?:$|[.,;!?]|and\b|in\b|with\b|to\b))",
    re.I,
)
_PUT = r"(?:apply|add|use|put|transfer|set)"
_RESTYLE = (
    r"(?:make|turn|paint|repaint|render|restyle|stylise|stylize|transform|convert|change|redo|draw|redraw|colou?r"
    r"|cover|fill|show)"
)
_LOOK = r"(?:style|texture|look|finish|feel|appearance)"
_COLOURS = (
    "red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|gr[ea]y|golden|silver|pastel|monochrome|neon"
)
_MADE = r"(?:(?:it|they)(?:['\u2019]s|\s+(?:is|are|was|were))\s+)?made\s+(?:out\s+)?of"
_STRONG = (
    rf"(?:into|(?:to\s+)?look(?:ing)?\s+(?:like|as\s+if)(?:\s+{_MADE})?|as\s+if\s+{_MADE}|as"
    r"|in\s+the\s+(?:style|manner|look|texture)\s+of)"
)


class Found(NamedTuple):
    """The parts of a clause, as they stand in it.

    Attributes:
        style: Words of the style.
        region: Words of the region; empty for the whole picture.
        before: Words in front of the clause that belong to nothing.
    """

    style: str
    region: str = ""
    before: str = ""


def split_clauses(text: str) -> list[str]:
    """Cut a prompt, whose quotes are hidden, into clauses.

    It is cut between two pieces that are both whole clauses and nowhere else, so that "roses and thorns" and "the sky
    and the sea" stay whole; a piece that is none goes to the clause before it, or, where it begins like a style ("a
    field of ..."), to the one behind.

    Returns:
        At least one clause, with the verb of an earlier one where it needs one.
    """
    text = _IN_PICTURE.sub("", _POLITE.sub("", text.strip()))
    pieces = _SEPARATOR.split(text.strip(" ,;."))
    clauses, verb, waiting = [pieces[0]], _verb(pieces[0]), ""
    for separator, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        joined = f"{waiting}{separator}{piece}" if waiting else piece
        whole = _with_verb(_POLITE.sub("", joined), verb)
        if not _is_whole(clauses[-1]):
            clauses[-1] += separator + piece
        elif _is_whole(whole) or _starts_clause(piece):
            clauses.append(whole)
            waiting = ""
        elif waiting or re.match(r"an?\s", piece, re.I) or separator.strip() in _HARD:
            waiting = joined
        else:
            clauses[-1] += separator + piece
        verb = _verb(piece) or verb
    return [*clauses, waiting] if waiting else clauses


def find_clause(clause: str) -> Found | None:
    """Tell the style from the region of a clause; None where it is not a whole one.

    Examples:
        >>> find_clause("turn the sofa into a mosaic")
        Found(style='a mosaic', region='the sofa', before='')
    """
    clause = clause.strip(" ,;.!?")
    found = (read(clause) for read in _READERS)
    return next((each for each in found if each is not None), None)


def lacks_style(clause: str) -> bool:
    """Tell whether what is no whole clause says where, or that something is to be done, but not how."""
    words = clause.strip()
    bare = rf"(?:{_PUT}|give)$|(?:{_PUT}\s+)?(?:to|onto)\s+{_BEFORE_REGION}|(?:{_RESTYLE}|give)(?:\s|$)"
    return re.match(bare, words, re.I) is not None or re.match(r"[^:=]*(?:[:=]|->)\s*$", words) is not None


def is_kept(clause: str) -> bool:
    """Tell whether a clause says what is not to be painted."""
    return _KEPT.match(clause) is not None


def _is_whole(clause: str) -> bool:
    if is_kept(clause):
        return True
    found = find_clause(clause)
    return found is not None and bool(found.region)


def _starts_clause(piece: str) -> bool:
    return re.match(rf"(?:{_RESTYLE}|give)\s+(?:{_DETERMINERS})\b", piece, re.I) is not None


def _verb(clause: str) -> str:
    match = re.search(rf"\b(?:{_PUT}|{_RESTYLE}|give)\b", clause, re.I)
    return match[0] if match else ""


def _with_verb(piece: str, verb: str) -> str:
    """Return a piece with the verb of the clause before, where it is no clause by itself."""
    carried = f"{verb} {piece}"
    return carried if verb and not _is_whole(piece) and _is_whole(carried) else piece


def _first(ways: Sequence[str], words: str) -> re.Match[str] | None:
    """Return how the first of several ways reads all the words."""
    matches = (re.fullmatch(way, words, re.I | re.S) for way in ways)
    return next((match for match in matches if match is not None), None)


def _arrow(clause: str) -> Found | None:
    """Read ``R: S``, ``R = S``, ``R -> S``."""
    match = re.fullmatch(r"(?P<region>[^:=]*?)\s*(?:->|=>|\u2192|=|:)\s*(?P<style>\S.*)", clause, re.S)
    return None if match is None else Found(match["style"], match["region"])


def _restyle(clause: str) -> Found | None:
    """Read "paint R in S", "make R look like S", "turn R into S"; without R it is the whole picture."""
    start = re.search(rf"\b{_RESTYLE}\b", clause, re.I)
    if start is None:
        return None
    before, rest = clause[: start.start()].strip(" ,"), clause[start.end() :]
    verb = start[0].casefold()
    weak = (
        r"(?:in|with|like|using|to)"
        if verb in {"change", "transform", "convert", "turn"}
        else r"(?:in|with|like|using)"
    )
    ways = (
        rf"(?P<region>.*?)\s+{_STRONG}\s+(?P<style>\S.*)",
        rf"(?P<region>.*?)\s+{weak}\s+(?!(?:the|front|his|her|their|my|it)\b(?!\s+(?:style|manner)))(?P<style>\S.*)",
        rf"\s+(?P<region>(?:{_DETERMINERS})\s+\S.*?)\s+(?P<style>an?\s+\S.*)",
        rf"\s+(?P<region>(?:{_DETERMINERS})(?:\s+\S.*?)?)\s+(?P<style>(?:{_COLOURS})|\w+(?:ist|istic|esque|i[sz]ed))",
    )
    match = _first(ways, rest)
    return None if match is None else Found(match["style"], match["region"].strip(), before)


def _give(clause: str) -> Found | None:
    """Read "give R a S texture", "give R the look of S"."""
    ways = (
        rf"(?P<before>.*?)\bgive\s+(?P<region>\S.*?)\s+(?P<style>the\s+{_LOOK}\s+of\s+\S.*)",
        rf"(?P<before>.*?)\bgive\s+(?P<region>\S.*?)\s+an?\s+(?P<style>\S.*?)(?:\s+{_LOOK})?",
        rf"(?P<before>.*?)\bgive\s+(?P<region>(?:{_DETERMINERS})\s+\S+)\s+(?P<style>\S.*?)\s+{_LOOK}",
    )
    match = _first(ways, clause)
    return None if match is None else Found(match["style"], match["region"], match["before"].strip(" ,"))


def _put(clause: str) -> Found | None:
    """Read "apply S to R", "use S for R", "put S on R", "S to the R", and "apply S" for the whole picture."""
    start = re.search(rf"\b{_PUT}\b", clause, re.I)
    if start is None:
        match = re.fullmatch(rf"(?P<style>\S.*?)\s+(?:to|onto)\s+{_BEFORE_REGION}(?P<region>\S.*)", clause, re.I | re.S)
        return None if match is None else Found(match["style"], match["region"])
    before, rest = clause[: start.start()].strip(" ,"), clause[start.end() :]
    to, on = r"(?:to|onto)", r"(?:on|over|across|for)"
    ways = (
        rf"\s+(?P<style>\S.*?)\s+{to}\s+{_BEFORE_REGION}(?P<region>\S.*)",
        rf"\s+(?P<style>\S.*?)\s+{to}\s+(?P<region>\S.*)",
        rf"\s+(?P<style>\S.*?)\s+{on}\s+{_BEFORE_REGION}(?P<region>\S.*)",
        rf"\s+(?P<style>\S.*?)\s+{on}\s+(?P<region>(?!canvas\b|paper\b|wood\b|silk\b)\S.*)",
        r"\s+(?P<style>(?!(?:to|onto|on|over|across|for)\s)\S.*)(?P<region>)",
    )
    match = _first(ways, rest)
    return None if match is None else Found(match["style"], match["region"], before)


def _stated(clause: str) -> Found | None:
    """Read "the R in the style of S", "the R as S", "the R in S"; titles, such as "The Girl in Pink", are styles."""
    match = re.fullmatch(rf"(?P<region>the\s+\S.*?)\s+{_STRONG}\s+(?P<style>\S.*)", clause, re.I | re.S)
    match = match or re.fullmatch(r"(?P<region>(?:the|everything)\s+.*?)\s*\bin\s+(?P<style>(?!the\b)[^A-Z].*)", clause)
    return None if match is None else Found(match["style"], match["region"].strip())


_READERS: tuple[Callable[[str], Found | None], ...] = (_arrow, _put, _give, _restyle, _stated)
