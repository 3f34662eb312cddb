"""A layer that normalises, over a picture too large for it: its statistics are those of the whole picture."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.networks.decoder_layer import DecoderLayer
from lightning_modules.networks.tiling import Computed, Moments, Source, Window, put, tiles, whole_of


def layer_in_tiles(
    layer: DecoderLayer,
    source: Source,
    joined: Source | None,
    style: Tensor,
    seed: Tensor,
    side: int,
    *,
    double: bool = False,
) -> Computed:
    """Return what a layer makes of a map, computed where it is looked at.

    A norm needs its statistics before anything of it can be used: the convolution is kept whole, and what comes after
    it is computed anew for every window.

    Args:
        layer: Any.
        source: ``(B, C, H, W)``.
        joined: More channels at the size that the convolution sees.
        style: As the layer takes it.
        seed: As the layer takes it.
        side: Of the tiles, in positions of ``source``.
        double: Whether ``source`` is doubled in size first, bilinearly.
    """

    def convolve(maps: Tensor, more: Tensor | None = None) -> list[Tensor]:
        large = F.interpolate(maps, scale_factor=2.0, mode="bilinear") if double else maps
        return [layer.convolution(large if more is None else torch.cat([large, more], 1))]

    inputs = [source] if joined is None else [source, joined]
    cells, moments, whole = (source.shape[-2], source.shape[-1]), Moments(), torch.empty(0)
    for window, (maps,) in tiles(convolve, inputs, cells, tile=side, halo=1):
        whole = whole if whole.numel() else whole_of(maps, window, cells)
        put(whole, maps, window, cells)
        moments.update(maps)
    statistics = moments.statistics(whole, correction=0)

    def part(window: Window) -> Tensor:
        top, bottom, left, right = window
        return layer.finish_window(whole[..., top:bottom, left:right], statistics, style, seed, (top, left))

    return Computed(tuple(whole.shape), part)
