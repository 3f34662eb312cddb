"""The independent panel of a run: fitted on the paintings that the run trains with."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from datamodules.images import read_image
from lightning_modules.weights import dinov2_installed, load_dinov2
from metrics.extractors import DINOv2Features
from metrics.panel import Panel, fit_panel


def make_panel(datamodule: Any, wanted: bool | None) -> Panel | None:
    """Return the panel of a data module's artists, or None where there is none.

    Args:
        datamodule: Its ``style.paintings("train")`` lists paintings with ``artist`` and ``path``, and its ``val_size``
            is the side in pixels of the pictures that will be judged; what lacks them has no panel, nor have paintings
            whose list has an attribute ``named`` that is false.
        wanted: Whether to make one; None does where its weights are installed.

    Raises:
        ImpastoError: If it is wanted and its weights are not installed.
    """
    if wanted is False or (wanted is None and not dinov2_installed()):
        return None
    list_paintings = getattr(getattr(datamodule, "style", None), "paintings", None)
    listed = list_paintings("train") if list_paintings else ()
    paintings: dict[str, list[Path]] = defaultdict(list)
    for painting in listed if getattr(listed, "named", True) else ():  # else nobody knows whose they are
        paintings[painting.artist].append(painting.path)
    enough = {artist: paths for artist, paths in paintings.items() if len(paths) > 1}
    if len(enough) < 2:
        return None
    extractor = DINOv2Features(load_dinov2(), getattr(datamodule, "val_size", None))
    return fit_panel(extractor, enough, lambda path: read_image(path)[None])
