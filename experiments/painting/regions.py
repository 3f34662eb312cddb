"""Which part of each picture `impasto stylize` paints."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from datamodules.images import is_image_name
from datamodules.masks import Box, box_mask, fit_mask, read_mask
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import composed


@dataclass(frozen=True)
class Region:
    """A mask, a folder with a mask for every content, or a box; by default the whole picture.

    Attributes:
        mask: A picture, bright (or opaque) where to paint; or a folder of such with the names of the contents.
        box: The same rectangle of every content.
    """

    mask: Path | None = None
    box: Box | None = None

    def of(self, content: Path, size: tuple[int, int]) -> Tensor | None:
        """Return the mask of one content, ``(1, H, W)`` in [0, 1]; None for the whole picture.

        Args:
            content: The file that is painted.
            size: Its height and width in pixels, as it is painted.

        Raises:
            ImpastoError: If there is no mask for it, or the region has no part of it.
        """
        if self.box is not None:
            return box_mask(self.box, *size)
        if self.mask is None:
            return None
        return fit_mask(read_mask(mask_file(self.mask, content)), *size)


def mask_file(mask: Path, content: Path) -> Path:
    """Return the mask of one content: the file itself, or the one of the content's name in a folder.

    Raises:
        ImpastoError: If the folder has none.
    """
    if not mask.is_dir():
        return mask
    name = composed(content.stem)
    found = sorted(path for path in mask.iterdir() if composed(path.stem) == name and is_image_name(path.name))
    if not found:
        raise ImpastoError(f"There is no mask for {content.name} in {mask}: name it {content.stem}.png.")
    return found[0]
