"""Which of several things a phrase means: "the leftmost chair", "the second house from the right", by geometry."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from lightning_modules.grounding.regions import Box

Side = Literal["left", "right", "top", "bottom", "centre", "largest", "smallest"]
Relation = Literal["left", "right", "above", "below", "near"]

_SIDES: dict[str, Side] = {
    "leftmost": "left", "left-most": "left", "left": "left", "far left": "left", "left-hand": "left",
    "rightmost": "right", "right-most": "right", "right": "right", "far right": "right", "right-hand": "right",
    "topmost": "top", "top": "top", "uppermost": "top", "upper": "top", "highest": "top",
    "bottommost": "bottom", "bottom": "bottom", "lowermost": "bottom", "lower": "bottom", "lowest": "bottom",
    "middle": "centre", "center": "centre", "centre": "centre", "central": "centre", "centermost": "centre",
    "largest": "largest", "biggest": "largest", "smallest": "smallest",
}  # fmt: skip
_NUMBERS = {
    word: number
    for number, words in enumerate(
        ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th"), start=1
    )
    for word in words.split()
}
_SIDE = "|".join(sorted(map(re.escape, _SIDES), key=len, reverse=True))
_NTH = re.compile(
    rf"(?:the\s+)?(?P<number>{'|'.join(_NUMBERS)})\s+(?P<noun>.+?)"
    rf"(?:\s+from\s+(?:the\s+)?(?P<side>{_SIDE}))?",
    re.I,
)
_ADJECTIVE = re.compile(rf"(?:the\s+)?(?P<side>{_SIDE})\s+(?:one\s+of\s+the\s+|of\s+the\s+)?(?P<noun>.+)", re.I)
_AT = re.compile(
    rf"(?P<noun>.+?)\s+(?:(?:that\s+is|which\s+is)\s+)?(?:on|at|to|in)\s+(?:the\s+)?(?P<side>{_SIDE})"
    r"(?:\s+(?:side|corner|edge|part|half))?",
    re.I,
)
_NEXT_TO = re.compile(
    r"(?P<noun>.+?)\s+(?:(?:on|to|at)\s+the\s+)?(?P<relation>left\s+of|right\s+of|(?:left|right)\s+side\s+of|above|over"
    r"|below|under|underneath|beneath|next\s+to|beside|near(?:\s+to)?|close\s+to|closest\s+to|nearest\s+to|by)\s+"
    r"(?:the\s+|a\s+|an\s+)?(?P<anchor>.+)",
    re.I,
)
_MANY = re.compile(r"^(?:all|both|every|each|two|three|four|five|several|many|some)\s+(?:of\s+)?(?:the\s+)?", re.I)
_PLURALS = {"people", "men", "women", "children", "geese", "sheep", "mice", "feet", "teeth", "oxen", "cattle"}
_SINGULARS = re.compile(r"(?:ss|us|is|lens|series|canvas|atlas)$", re.I)


class Spatial(NamedTuple):
    """A phrase, taken apart.

    Attributes:
        noun: What to look for.
        side: Where the one that is meant lies among several.
        nth: Which one, counted from that side, from 1.
        relation: How it lies to the anchor.
        anchor: Another thing.
        plural: Whether all are meant.
    """

    noun: str
    side: Side | None = None
    nth: int = 1
    relation: Relation | None = None
    anchor: str | None = None
    plural: bool = False


def take_apart(phrase: str) -> Spatial:
    """Separate the noun of a phrase from the words that say where it lies.

    Examples:
        >>> take_apart("leftmost chair")
        Spatial(noun='chair', side='left', nth=1, relation=None, anchor=None, plural=False)
        >>> take_apart("chair on the left of the sofa").anchor
        'sofa'
    """
    words = " ".join(phrase.split())
    if match := _NEXT_TO.fullmatch(words):
        kind = match["relation"].casefold()
        return Spatial(match["noun"], relation=_relation(kind), anchor=match["anchor"], plural=is_plural(match["noun"]))
    if match := _AT.fullmatch(words):
        noun = match["noun"]
        return Spatial(noun, side=_SIDES[match["side"].casefold()], plural=is_plural(noun))
    if match := _NTH.fullmatch(words):
        side = _SIDES[match["side"].casefold()] if match["side"] else "left"
        return Spatial(match["noun"], side=side, nth=_NUMBERS[match["number"].casefold()])
    if match := _ADJECTIVE.fullmatch(words):
        noun = match["noun"]
        return Spatial(noun, side=_SIDES[match["side"].casefold()], plural=is_plural(noun) and " of " not in words)
    return Spatial(_MANY.sub("", words), plural=is_plural(words))


def is_plural(phrase: str) -> bool:
    """Tell whether a phrase means several things.

    Examples:
        >>> [is_plural(phrase) for phrase in ("houses", "every house", "glass", "roof of the houses")]
        [True, True, False, False]
    """
    if _MANY.match(phrase):
        return True
    head = re.split(r"\s+(?:of|on|in|with|at|by|near|from|behind|under|over)\s+", phrase.strip(), flags=re.I)[0]
    last = head.split()[-1].casefold() if head.split() else ""
    return last in _PLURALS or (last.endswith("s") and not _SINGULARS.search(last))


def choose(
    boxes: Sequence[Box], scores: Sequence[float], spatial: Spatial, size: tuple[int, int], anchor: Box | None = None
) -> list[int]:
    """Choose those of several boxes that a phrase means.

    Args:
        boxes: Of what has the phrase's noun.
        scores: How sure each is.
        spatial: The phrase.
        size: Height and width of the picture, in pixels.
        anchor: Box of the anchor, where the phrase has one.

    Returns:
        Their numbers, the best first; none where no box lies so.
    """
    numbers = sorted(range(len(boxes)), key=lambda n: -scores[n])
    if spatial.relation is not None and anchor is not None:
        numbers = _related(boxes, numbers, spatial.relation, anchor)
    elif spatial.side is not None:
        numbers = _sided(boxes, numbers, spatial, size)
    return numbers if spatial.plural else numbers[:1]


def centre(box: Box) -> tuple[float, float]:
    """Return the middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _relation(words: str) -> Relation:
    if words.startswith(("left", "right")):
        return "left" if words.startswith("left") else "right"
    if words in {"above", "over"}:
        return "above"
    return "below" if words in {"below", "under", "underneath", "beneath"} else "near"


def _related(boxes: Sequence[Box], numbers: list[int], relation: Relation, anchor: Box) -> list[int]:
    x, y = centre(anchor)
    offsets = {n: (centre(boxes[n])[0] - x, centre(boxes[n])[1] - y) for n in numbers}
    lies = {
        "left": lambda dx, _: dx < 0,
        "right": lambda dx, _: dx > 0,
        "above": lambda _, dy: dy < 0,
        "below": lambda _, dy: dy > 0,
        "near": lambda dx, dy: (dx, dy) != (0, 0),  # a thing is not beside itself
    }[relation]
    there = [n for n in numbers if lies(*offsets[n])]
    return sorted(there, key=lambda n: offsets[n][0] ** 2 + offsets[n][1] ** 2)


def _sided(boxes: Sequence[Box], numbers: list[int], spatial: Spatial, size: tuple[int, int]) -> list[int]:
    height, width = size
    ranks = {
        "left": lambda box: centre(box)[0],
        "right": lambda box: -centre(box)[0],
        "top": lambda box: centre(box)[1],
        "bottom": lambda box: -centre(box)[1],
        "centre": lambda box: abs(centre(box)[0] / width - 0.5) + abs(centre(box)[1] / height - 0.5),
        "largest": lambda box: -(box[2] - box[0]) * (box[3] - box[1]),
        "smallest": lambda box: (box[2] - box[0]) * (box[3] - box[1]),
    }
    rank = ranks[spatial.side or "left"]
    ordered = sorted(numbers, key=lambda n: rank(boxes[n]))
    if spatial.plural and spatial.side in {"left", "right", "top", "bottom", "centre"}:
        return [n for n in ordered if _in_half(boxes[n], spatial.side, size)]
    return ordered[spatial.nth - 1 :]


def _in_half(box: Box, side: Side, size: tuple[int, int]) -> bool:
    """Tell whether a box lies on a side of the picture: of several, all on that side are meant."""
    x, y = centre(box)[0] / size[1], centre(box)[1] / size[0]
    halves = {"left": x < 0.5, "right": x > 0.5, "top": y < 0.5, "bottom": y > 0.5}
    return halves.get(side, max(abs(x - 0.5), abs(y - 0.5)) < 0.25)
