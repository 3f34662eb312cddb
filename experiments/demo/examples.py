"""What a user can try at once: pictures that ProceduralArt makes when the page starts; none is stored in the repo."""

from pathlib import Path
from typing import NamedTuple

import torch

from datamodules.images import write_image
from datamodules.procedural import contents, paint
from datamodules.procedural.brushes import Floats

SIZE = 384
SHOWN = (("Dominic Vitrail", 0, 4), ("Juno Maelstrom", 4, 1), ("Ada Stipple", 1, 0))
"""A painter, which content of the test split is the photograph, and which other one the painter has painted."""


class Example(NamedTuple):
    """A photograph, a style picture, and the prompt that says the same as it."""

    photograph: Path
    style: Path
    prompt: str


def write_examples(folder: Path, size: int = SIZE) -> list[Example]:
    """Make the examples.

    Args:
        folder: Gets their pictures.
        size: Height and width, in pixels.
    """
    pictures = list(contents("test", 1 + max(number for _, *numbers in SHOWN for number in numbers), size))
    written = []
    for painter, photograph, painted in SHOWN:
        example = Example(folder / f"{pictures[photograph].title}.png", folder / f"{painter}.png", painter)
        _write(pictures[photograph].image, example.photograph)
        _write(paint(pictures[painted], painter, 0), example.style)
        written.append(example)
    return written


def _write(image: Floats, path: Path) -> None:
    write_image(torch.from_numpy(image).permute(2, 0, 1), path)
