"""What the painters paint: photographs that come inside installed packages, and procedural scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from datamodules.procedural.brushes import Floats
from datamodules.procedural.regions import Regions
from datamodules.procedural.scenes import SCENES, scene
from lightning_modules.errors import ImpastoError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

# A photograph belongs to one split, so that no two splits hold crops of one picture.
PHOTOGRAPHS: dict[Split, dict[str, tuple[str, str, str]]] = {
    "train": {
        "astronaut": ("skimage", "data/astronaut.png", "an astronaut in an orange suit"),
        "flower": ("sklearn", "datasets/images/flower.jpg", "an orange dahlia flower"),
        "motorcycle": ("skimage", "data/motorcycle_left.png", "a motorcycle in a garage"),
        "rocket": ("skimage", "data/rocket.jpg", "a rocket launch at dusk"),
        "galaxies": ("skimage", "data/hubble_deep_field.jpg", "galaxies in deep space"),
        "tissue": ("skimage", "data/ihc.png", "stained tissue under a microscope"),
        "retina": ("skimage", "data/retina.jpg", "the retina of an eye"),
    },
    "val": {
        "officer": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "a navy officer in uniform"),
        "coffee": ("skimage", "data/coffee.png", "a cup of coffee on a table"),
    },
    "test": {
        "pagoda": ("sklearn", "datasets/images/china.jpg", "a pagoda above a lake"),
        "cat": ("skimage", "data/chelsea.png", "the face of a cat"),
    },
}
_EVERY: dict[Split, int] = {"train": 2, "val": 3, "test": 3}  # this many contents are one photograph and else scenes
_NUMBERS_PER_SPLIT = 1_000_000  # content numbers are the scenes' seeds: each split has its own range of them


class Content(NamedTuple):
    """One picture to be painted.

    Attributes:
        title: File name without suffix, unique over all splits.
        caption: Content words, such as ``"a photo of the sea under a grey sky"``.
        image: ``(size, size, 3)`` float32 in [0, 1].
        regions: What it shows where; None for photographs, of which nobody knows.
    """

    title: str
    caption: str
    image: Floats
    regions: Regions | None = None


def generator(*key: object) -> np.random.Generator:
    """Return a random generator that depends on nothing but the key: neither on order nor on the process."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


@lru_cache(maxsize=16)
def _photograph(package: str, path: str) -> Image.Image:
    spec = find_spec(package)
    file = Path(spec.origin).parent / path if spec is not None and spec.origin is not None else None
    if file is None or not file.is_file():
        raise ImpastoError(f"ProceduralArt needs the photograph {path} of the package {package}: reinstall {package}.")
    with Image.open(file) as picture:
        return picture.convert("RGB")


def _crop(picture: Image.Image, size: int, rng: np.random.Generator) -> Floats:
    """Cut a random square of 45 to 100 % of the short side, flip it half of the time, and resample it."""
    side = min(picture.size) * rng.uniform(0.45, 1.0)
    left, top = rng.uniform(0, picture.width - side), rng.uniform(0, picture.height - side)
    box = (float(left), float(top), float(left + side), float(top + side))
    square = picture.resize((size, size), Image.Resampling.LANCZOS, box=box)
    image = np.asarray(square, np.float32) / np.float32(255)
    return np.ascontiguousarray(image[:, ::-1] if rng.random() < 0.5 else image)


def photograph_number(split: Split, index: int) -> int | None:
    """Return which of its split's photographs a content is, counted from 0, or None for a scene."""
    return None if index % _EVERY[split] else index // _EVERY[split]


def content(split: Split, index: int, size: int, seed: int) -> Content:
    """Make one content of a split; even numbers are photographs in training, every third elsewhere.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        index: Place in the split, from 0; the same whatever the number of contents.
        size: Height and width in pixels, at least 16.
        seed: Seed of the whole data set.

    Returns:
        The content with its title and caption.
    """
    number = SPLITS.index(split) * _NUMBERS_PER_SPLIT + index
    rng = generator(seed, "content", number)
    regions = None
    photograph = photograph_number(split, index)
    if photograph is not None:
        names = list(PHOTOGRAPHS[split])
        kind = names[photograph % len(names)]
        package, path, words = PHOTOGRAPHS[split][kind]
        image, caption = _crop(_photograph(package, path), size, rng), f"a photo of {words}"
    else:
        kinds = list(SCENES)
        kind = kinds[(index - index // _EVERY[split] - 1) % len(kinds)]
        image, caption, regions = scene(kind, size, rng)
    return Content(f"{kind}-{number:07d}", caption, image, regions)


def contents(split: Split, count: int, size: int = 256, seed: int = 0) -> Iterator[Content]:
    """Yield the first ``count`` contents of a split.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``; no photograph and no scene is in two of them.
        count: How many, below a million.
        size: Height and width in pixels, at least 16.
        seed: Seed of the whole data set.

    Yields:
        Contents in order, each independent of ``count``.

    Raises:
        ImpastoError: If the split, the count or the size is out of range.
    """
    if split not in SPLITS:
        raise ImpastoError(f"ProceduralArt has the splits {', '.join(SPLITS)}: there is no {split!r}.")
    if not 0 <= count < _NUMBERS_PER_SPLIT:
        raise ImpastoError(f"ProceduralArt makes 0 to {_NUMBERS_PER_SPLIT - 1} contents a split, not {count}.")
    if size < 16:
        raise ImpastoError(f"ProceduralArt paints pictures of at least 16 pixels: --size {size} is too small.")
    for index in range(count):
        yield content(split, index, size, seed)
