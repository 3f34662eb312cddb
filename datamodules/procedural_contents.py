"""ProceduralArt's contents alone: as many photographs and scenes as wanted, which nobody has painted."""

from pathlib import Path

import numpy as np
import torch

from datamodules.images import list_images, write_image
from datamodules.sources import Content, ContentSource, Split
from lightning_modules.paths import composed


class ProceduralContents(ContentSource):
    """Crops of the photographs that come inside installed packages, and procedural scenes.

    No photograph and no scene is in two splits. They are made in a second or so for every ten, since nobody paints
    them.

    Args:
        root: Where the pictures are, or will be generated.
        size: Side of the pictures, in pixels.
        contents_per_split: Number of pictures of ``train``, ``val`` and ``test``.
        seed: Seed of the pictures; another one than that of paintings gives other scenes than these show.
    """

    def __init__(
        self,
        root: Path | str = "data/procedural-contents",
        *,
        size: int = 256,
        contents_per_split: dict[Split, int],
        seed: int = 1,
    ) -> None:
        self.root = Path(root)
        self.size = size
        self.contents_per_split = contents_per_split
        self.seed = seed

    def prepare(self) -> None:
        """Generate what is missing."""
        from datamodules.procedural import contents  # slow to load

        for split, count in self.contents_per_split.items():
            folder = self._folder(split)
            if folder.is_dir() and len(list(folder.glob("[!.]*.png"))) == count:
                continue
            for made in contents(split, count, self.size, self.seed):
                path = folder / f"{made.title}.png"
                if not path.is_file():
                    write_image(torch.from_numpy(np.moveaxis(made.image, -1, 0).copy()), path)

    def contents(self, split: Split) -> list[Content]:
        """List the pictures of a split, sorted by path."""
        return [Content(path, composed(path.stem)) for path in list_images(self._folder(split))]

    def _folder(self, split: Split) -> Path:
        return self.root / f"{split}-{self.size}-{self.seed}-{self.contents_per_split[split]}"
