"""Boxes in the words of a vision-language model: every way in which such models write four numbers."""

import math
import re
from collections.abc import Iterator
from typing import Literal

from lightning_modules.grounding.regions import Box

Frame = Literal["image", "padded_square", "pixels", "0-1000", "auto"]
"""What a grounder's coordinates count: shares of the picture or of the square that it is padded to, or pixels."""
SMALLEST = 5e-4
"""Boxes that cover a smaller share of the picture are noise."""

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?P<unit>\s*%)?(?!\w*\s*=)", re.I)
_GROUP = re.compile(r"[\[({<]([^\[\](){}<>]*)[\])}>]")
_NAMES = {
    name: place
    for place, names in enumerate(
        (
            "x1 x0 xmin x_min x-min left xleft x_left",
            "y1 y0 ymin y_min y-min top ytop y_top upper",
            "x2 xmax x_max x-max right xright x_right",
            "y2 ymax y_max y-max bottom ybottom y_bottom lower",
        )
    )
    for name in names.split()
}
_NAMED = re.compile(
    rf"[\"']?\b(?P<name>{'|'.join(sorted(_NAMES, key=len, reverse=True))})\b[\"']?\s*[:=]\s*"
    r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)\s*%?)",
    re.I,
)
_SIZED = re.compile(
    r"[\"']?\bx\b[\"']?\s*[:=]\s*(?P<x>[\d.]+\s*%?)\D+?[\"']?\by\b[\"']?\s*[:=]\s*(?P<y>[\d.]+\s*%?)\D+?"
    r"[\"']?\b(?:width|w)\b[\"']?\s*[:=]\s*(?P<w>[\d.]+\s*%?)\D+?[\"']?\b(?:height|h)\b[\"']?\s*[:=]\s*(?P<h>[\d.]+\s*%?)",
    re.I,
)
_BARE = re.compile(
    r"(?<![\d.,\w])(?:[-+]?(?:\d+\.?\d*|\.\d+)\s*%?\s*(?:,|\s)\s*){3}[-+]?(?:\d+\.?\d*|\.\d+)\s*%?(?!\s*,?\s*\d)"
)
_REFUSAL = re.compile(
    r"\b(?:sorry|cannot|can['\u2019]?t|unable|not\s+able|no\s+such|does(?:\s+not|n['\u2019]t)\s+(?:contain|show|have)"
    r"|there\s+(?:is|are)\s+no\b|there\s+(?:isn|aren)['\u2019]t|not\s+(?:visible|present|possible))",
    re.I,
)
_Four = tuple[float, float, float, float]


def parse_boxes(reply: str, size: tuple[int, int], frame: Frame = "image") -> list[Box]:
    """Return the boxes that a reply names, in pixels of the picture and in the reply's order.

    Args:
        reply: What the model wrote.
        size: Height and width of the picture.
        frame: What its numbers count. Numbers up to 1 and percents are shares in every frame; larger ones are pixels
            of the frame. ``auto`` is not for one reply: ask once for each of the frames that are possible.

    Returns:
        Corners in order, within the picture; none for a refusal, and none that is smaller than `SMALLEST`.

    Examples:
        >>> parse_boxes("The chair is at [0.000,0.556,0.177,0.919].", (512, 512))
        [(0.0, 284.672, 90.624, 470.528)]
    """
    if _REFUSAL.search(reply):
        return []
    height, width = size
    boxes = []
    for four in _fours(reply):
        x0, y0, x1, y1 = _in_pixels(four, size, frame)
        left, right = (min(max(x, 0.0), width) for x in sorted((x0, x1)))
        top, bottom = (min(max(y, 0.0), height) for y in sorted((y0, y1)))
        if (right - left) * (bottom - top) >= SMALLEST * width * height:
            boxes.append((left, top, right, bottom))
    return list(dict.fromkeys(boxes))


def _fours(reply: str) -> list[_Four]:
    """Return all groups of four numbers; of several ways to write them, the first that is used."""
    ways = (_sized, _named, _grouped, _paired, _bare)
    found = (list(way(reply)) for way in ways)
    return next((fours for fours in found if fours), [])


def _grouped(reply: str) -> Iterator[_Four]:
    for group in _GROUP.findall(reply):
        numbers = _numbers(group)
        if len(numbers) == 4 or (len(numbers) == 5 and numbers[4] <= 1):  # the fifth is how sure the model is
            yield numbers[0], numbers[1], numbers[2], numbers[3]


def _paired(reply: str) -> Iterator[_Four]:
    """Find corners, "(0.1, 0.2) to (0.5, 0.6)"."""
    pairs = [numbers for group in _GROUP.findall(reply) if len(numbers := _numbers(group)) == 2]
    for first, second in zip(pairs[::2], pairs[1::2], strict=False):
        yield first[0], first[1], second[0], second[1]


def _named(reply: str) -> Iterator[_Four]:
    """Find "x1=0.1, y1=0.2, x2=0.5, y2=0.6", in any order."""
    found: dict[int, float] = {}
    for match in _NAMED.finditer(reply):
        found[_NAMES[match["name"].casefold()]] = _value(match["number"])
        if len(found) == 4:
            yield found[0], found[1], found[2], found[3]
            found = {}


def _sized(reply: str) -> Iterator[_Four]:
    """Find a corner with width and height."""
    for match in _SIZED.finditer(reply):
        x, y, w, h = (_value(match[name]) for name in "xywh")
        yield x, y, x + w, y + h


def _bare(reply: str) -> Iterator[_Four]:
    for match in _BARE.finditer(reply):
        numbers = _numbers(match[0])
        if len(numbers) == 4:
            yield numbers[0], numbers[1], numbers[2], numbers[3]


def _numbers(text: str) -> list[float]:
    return [_value(match[0]) for match in _NUMBER.finditer(text)]


def _value(text: str) -> float:
    number = float(text.strip().rstrip("%"))
    return number / 100 if "%" in text else number


def _in_pixels(four: _Four, size: tuple[int, int], frame: Frame) -> _Four:
    height, width = size
    square = max(size)
    shares = max(map(abs, four)) <= 1
    if frame == "padded_square":
        scale = square if shares else 1
        left, top = (math.floor((square - side) / 2) for side in (width, height))
        x0, y0, x1, y1 = (number * scale for number in four)
        return x0 - left, y0 - top, x1 - left, y1 - top
    across, down = (width, height) if shares else (1.0, 1.0)
    if frame == "0-1000" and not shares:
        across, down = width / 1000, height / 1000
    x0, y0, x1, y1 = four
    return x0 * across, y0 * down, x1 * across, y1 * down
