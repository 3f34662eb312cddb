"""Where in a picture a phrase is: masks, boxes, points, and models that look for words. No Lightning in here.

Coordinates are pixels from the upper left corner; masks are 1 inside. Importing this package imports no model: what
needs transformers, OpenCV or segment-anything loads them with its first use.
"""

from lightning_modules.grounding.choice import Auto, Settings, find_grounder, find_segmenter
from lightning_modules.grounding.configured import PhraseGrounder
from lightning_modules.grounding.given import GivenHint, GivenMask
from lightning_modules.grounding.phrases import Clause, Prompt, Where, parse_prompt, parse_where
from lightning_modules.grounding.places import locate
from lightning_modules.grounding.regions import Box, Grounder, NotFoundError, Region
from lightning_modules.grounding.segmenters import Hint, Segmenter

__all__ = [
    "Auto",
    "Box",
    "Clause",
    "GivenHint",
    "GivenMask",
    "Grounder",
    "Hint",
    "NotFoundError",
    "PhraseGrounder",
    "Prompt",
    "Region",
    "Segmenter",
    "Settings",
    "Where",
    "find_grounder",
    "find_segmenter",
    "locate",
    "parse_prompt",
    "parse_where",
]
