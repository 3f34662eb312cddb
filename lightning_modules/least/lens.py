"""What LEAST looks through: CLIP and VGG, frozen, and the words that it is asked for."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.least.words import mean_vector
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.networks.vgg import VGGEncoder


class Lens(NamedTuple):
    """The frozen networks, and in which precision they run.

    Attributes:
        clip: Sees what the words mean.
        vgg: Sees what the content shows.
        half: Whether the two run in bfloat16; what they return is float32 again.
        antialias: Whether pictures are smoothed where they are shrunk to CLIP's size.
    """

    clip: CLIPEncoder
    vgg: VGGEncoder
    half: bool = False
    antialias: bool = True

    def for_clip(self, images: Tensor, mode: str = "bicubic") -> Tensor:
        """Return ``(B, 3, h, w)`` stretched to the square that CLIP sees."""
        side = (self.clip.image_size, self.clip.image_size)
        if images.shape[-2:] == side:
            return images
        return F.interpolate(images, side, mode=mode, antialias=self.antialias or mode == "bilinear")

    def embed(self, squares: Tensor) -> Tensor:
        """Return the vectors of pictures of CLIP's size, ``(B, D)``, of any length."""
        with torch.autocast(squares.device.type, torch.bfloat16, enabled=self.half):
            return as_computed(self.clip.encode_image(squares), squares)

    def maps(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the VGG's maps of ``(B, 3, H, W)``."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half):
            maps: Mapping[str, Tensor] = self.vgg(images, layers)
        return {name: as_computed(map_, images) for name, map_ in maps.items()}

    def words(self, text: str, templates: Sequence[str]) -> Tensor:
        """Return the mean vector of a text in all templates, ``(1, D)``."""
        return mean_vector(self.clip, [template.format(text) for template in templates])


def as_computed(values: Tensor, like: Tensor) -> Tensor:
    """Return values in the precision that losses are computed in: that of the pictures."""
    return values.to(like.dtype)
