"""Text prompts of CLAST: sentences around an artist's name, and prompts of several weighted attributes."""

import re
from collections.abc import Sequence

SOURCE_PROMPT = "a photo"
"""Where directional CLIP starts from (the source text of the released code)."""

TEMPLATES: tuple[str, ...] = (
    "a painting by {}",
    "a painting in the style of {}",
    "{} style",
    "an artwork by {}",
    "a picture painted by {}",
    "the art of {}",
)
"""Sentences around a name. The public TxST loader uses CLIP's 79 ImageNet templates, which speak of photos."""

BARE: tuple[str, ...] = ("{}",)
"""The released code encodes a prompt as it is typed."""

_CLAUSE = re.compile(r"\s*(?P<text>[^:,]+?)\s*:\s*(?P<weight>-?\d+(?:\.\d+)?)\s*")
_SENTENCE = re.compile(r"^(a|an|the|in)\s|\b(style|by)\b", re.IGNORECASE)


def parse_prompt(prompt: str) -> list[tuple[str, float]]:
    """Split a prompt into weighted clauses.

    Args:
        prompt: ``"van gogh"`` is one clause of weight 1; ``"van gogh:1.0, brighter colours:0.5"`` is two. A prompt is
            only split where every comma-separated part carries a weight, so ordinary commas are safe.

    Returns:
        Pairs of clause and weight, in order.

    Examples:
        >>> parse_prompt("van gogh:1.0, brighter colours:0.5")
        [('van gogh', 1.0), ('brighter colours', 0.5)]
        >>> parse_prompt("a quiet harbour, at dawn")
        [('a quiet harbour, at dawn', 1.0)]
    """
    matches = [_CLAUSE.fullmatch(part) for part in prompt.split(",")]
    if all(matches):
        return [(match["text"], float(match["weight"])) for match in matches if match]
    return [(prompt.strip(), 1.0)]


def sentences(clause: str, templates: Sequence[str] = TEMPLATES) -> list[str]:
    """Return the texts to encode for one clause: a bare name in every template, a sentence as it stands.

    Examples:
        >>> sentences("Ada Stipple")[0]
        'a painting by Ada Stipple'
        >>> sentences("a painting of a harbour")
        ['a painting of a harbour']
    """
    if _SENTENCE.search(clause):
        return [clause]
    return [template.format(clause) for template in templates]
