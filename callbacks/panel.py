"""The independent panel of a run: fitted on the paintings that the run trains with."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from datamodules.images import read_image
from datamodules.records import Stored
from datamodules.sources import OwnStyles
from lightning_modules.weights import dinov2_installed, load_dinov2
from metrics.extractors import DINOv2Features
from metrics.panel import Panel, fit_panel


def make_panel(datamodule: Any, wanted: bool | None) -> Panel | None:
    """Return the panel of a data module's artists, or None where there is none.

    Args:
        datamodule: Its ``style.paintings("train")`` lists paintings with ``artist`` and ``path``, and its ``val_size``
            is the side in pixels of the pictures that will be judged; what lacks them has no panel.
        wanted: Whether to make one; None does where its weights are installed.

    Raises:
        ImpastoError: If it is wanted and its weights are not installed.
    """
    if wanted is False or (wanted is None and not dinov2_installed()):
        return None
    list_paintings = getattr(getattr(datamodule, "style", None), "paintings", None)
    listed = list_paintings("train") if list_paintings else ()
    paintings: dict[str, list[Stored]] = defaultdict(list)
    for painting in () if isinstance(listed, OwnStyles) else listed:  # nobody knows whose those are
        paintings[painting.artist].append(painting.path)
    enough = {artist: paths for artist, paths in paintings.items() if len(paths) > 1}
    if len(enough) < 2:
        return None
    extractor = DINOv2Features(load_dinov2(), getattr(datamodule, "val_size", None))
    return fit_panel(extractor, cast("Mapping[str, Sequence[Path]]", enough), lambda path: read_image(path)[None])
