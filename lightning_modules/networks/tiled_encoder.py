"""The maps of an encoder on pictures that are too large for it, equal to those of one pass."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from lightning_modules.networks.tiling import Computed, Moments, Window, grown, in_tiles, tiles
from lightning_modules.networks.vgg import VGGEncoder, stride_of


def encode_in_tiles(encoder: VGGEncoder, images: Tensor, layers: Sequence[str], *, tile: int) -> dict[str, Tensor]:
    """Return what ``encoder(images, layers)`` returns, while only a tile is in the encoder.

    Args:
        encoder: Any.
        images: ``(B, 3, H, W)``, RGB in [0, 1]; its sides are multiples of the deepest layer's stride.
        layers: As the encoder takes them.
        tile: Side of the tiles, in pixels.
    """
    stride = max(map(stride_of, layers))
    reach = max(encoder.trunk.config.reach(layer) for layer in layers)
    cells = (images.shape[-2] // stride, images.shape[-1] // stride)

    def encode(part: Tensor) -> list[Tensor]:
        maps = encoder(part, layers)
        return [maps[layer] for layer in layers]

    maps = in_tiles(encode, [images], cells, tile=max(1, tile // stride), halo=-(-reach // stride))
    return dict(zip(layers, maps, strict=True))


class ShallowMap(NamedTuple):
    """A map with many positions, computed where it is looked at.

    Attributes:
        maps: The map.
        statistics: Mean and deviation of its channels, ``(B, C, 1, 1)`` each, as of `channel_statistics`.
    """

    maps: Computed
    statistics: tuple[Tensor, Tensor]


def shallow_map(encoder: VGGEncoder, images: Tensor, layer: str, *, tile: int) -> ShallowMap:
    """Return a layer's map of pictures, of which nothing stays in memory.

    Args:
        encoder: Any.
        images: As of `encode_in_tiles`.
        layer: Name of the layer.
        tile: Side of the tiles, in pixels.
    """
    stride = stride_of(layer)
    size = (images.shape[-2] // stride, images.shape[-1] // stride)
    halo = -(-encoder.trunk.config.reach(layer) // stride)

    def part(window: Window) -> Tensor:
        outer = grown(window, halo, size)
        top, bottom, left, right = (edge * stride for edge in outer)
        maps: Tensor = encoder(images[..., top:bottom, left:right], (layer,))[layer]
        return maps[..., window[0] - outer[0] : window[1] - outer[0], window[2] - outer[2] : window[3] - outer[2]]

    found = Computed((len(images), encoder.channels[layer], *size), part)
    moments = Moments()
    for _, (maps,) in tiles(lambda maps: [maps], [found], size, tile=max(1, tile // stride), halo=0):
        moments.update(maps)
    return ShallowMap(found, moments.statistics(images))
