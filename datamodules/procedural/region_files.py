"""The regions of ProceduralArt's scenes on disk, beside the pictures: written when somebody first asks for them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from datamodules.procedural.contents import Split, contents
from datamodules.procedural.dataset import read_json
from datamodules.procedural.regions import Labels, Regions
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

REGIONS_VERSION = 1  # raise it when a scene says something else of what it shows; files of before are then replaced
# Labels are numbers; colours are for whoever opens the file.
_PALETTE = [0, 0, 0, 214, 69, 65, 38, 166, 91, 65, 131, 215, 244, 208, 63, 27, 188, 155, 155, 89, 182, 236, 240, 241]


class NamedRegion(NamedTuple):
    """A region of a scene, as a file holds it.

    Attributes:
        title: Of the scene.
        name: Such as ``"sea"``.
        labels: The numbers that its pixels have in ``<split>/regions/<title>.png``.
        share: Of the picture, in (0, 1].
    """

    title: str
    name: str
    labels: tuple[int, ...]
    share: float


def named_regions(root: Path, split: Split) -> list[NamedRegion]:
    """Return the regions of all scenes of a split, scene by scene.

    Writes ``<split>/regions/<title>.png``, the label of every pixel, and ``<split>/regions.json``, what they mean,
    where they are not there yet, whenever the data set itself was made. Photographs have no regions.

    Args:
        root: Folder of a finished data set.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        ImpastoError: If there is no finished data set.
    """
    legend = root / split / "regions.json"
    found = read_json(legend)
    if not isinstance(found, dict) or found.get("version") != REGIONS_VERSION:
        found = {"version": REGIONS_VERSION, "scenes": _write_labels(root, split)}
        write_atomically(legend, json.dumps(found, indent=1) + "\n")
    return [
        NamedRegion(title, name, tuple(region["labels"]), region["share"])
        for title, regions in found["scenes"].items()
        for name, region in regions.items()
    ]


def _write_labels(root: Path, split: Split) -> dict[str, Any]:
    recipe = read_json(root / "meta.json")
    if not isinstance(recipe, dict):
        raise ImpastoError(f"{root} holds no finished ProceduralArt: run `impasto prepare procedural --out {root}`.")
    scenes = {}
    for picture in contents(split, recipe["contents"][split], recipe["size"], recipe["seed"]):
        if picture.regions is not None:
            write_atomically(root / split / "regions" / f"{picture.title}.png", _png(picture.regions.labels))
            scenes[picture.title] = _legend(picture.regions)
    return scenes


def _legend(regions: Regions) -> dict[str, Any]:
    return {
        name: {"labels": list(labels), "share": round(float(regions.mask(name).mean()), 6)}
        for name, labels in regions.names.items()
    }


def _png(labels: Labels) -> bytes:
    image = Image.fromarray(labels).convert("P")  # of grey, Pillow keeps the numbers
    image.putpalette(_PALETTE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
