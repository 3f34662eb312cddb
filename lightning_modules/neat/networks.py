"""NeAT's transform: PAMA's blocks, one after the other, on the style's own features."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.losses.precision import at_least_float32, without_autocast
from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.networks.attention import as_maps, attend, tokens
from lightning_modules.networks.attention_generator import AttentionTransform, Keys
from lightning_modules.networks.mirrored_decoder import ReflectConv
from lightning_modules.networks.padding import reflected
from lightning_modules.networks.tiling import in_tiles

DEEP = ("relu4_1", "relu5_1")
"""Where blocks may stand."""
LEVELS = ("relu4_1",) * 4
"""Where NeAT's stand: four are the paper's, their place is not said there; PAMA's three stand at relu4_1."""
WINDOWS = (1, 3, 5)
"""Sides of what the masks of a fusion look at."""
# Without gradients, maps of pictures above 4 megapixels pass through a block tile by tile: each map of an 8K picture
# takes 1 GiB. The halo holds how far a block sees, statistics and attention aside: conv_out one place, the widest
# mask two.
TILED_ABOVE = 2**16
TILE, HALO = 192, 3


class Entered(NamedTuple):
    """Features of a content, or of a style, inside a block.

    Attributes:
        maps: ``(B, C, H, W)``, in [0, 6].
        mean: Of every channel over the whole picture, ``(B, C, 1, 1)``.
        std: Likewise.
    """

    maps: Tensor
    mean: Tensor
    std: Tensor

    def normal(self) -> Tensor:
        """Return the maps with mean 0 and deviation 1 over the whole picture."""
        return (self.maps - self.mean) / self.std


class SpaceAwareInterpolation(nn.Module):
    """Content and style features mixed, at every place by a mask that three windows agree on.

    ``m P1(Fc) + (1 - m) P2(Fs)`` with ``m = (sigmoid(W1 * J) + sigmoid(W3 * J) + sigmoid(W5 * J)) / 3`` and
    ``J = P(Fc, Fs)``.

    Args:
        channels: C.

    Source: public code of Luo et al. 2022 (PAMA), class ``FuseUnit``.
    """

    shifts: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.joint = nn.Conv2d(2 * channels, channels, 1)
        self.content = nn.Conv2d(channels, channels, 1)
        self.style = nn.Conv2d(channels, channels, 1)
        self.windows = nn.ModuleList(nn.Conv2d(channels, 1, side) for side in WINDOWS)
        self.register_buffer("shifts", _shifts(), persistent=False)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Mix two ``(B, C, H, W)``."""
        return torch.lerp(self.style(style), self.content(content), self.mask(content, style))

    def mask(self, content: Tensor, style: Tensor) -> Tensor:
        """Return the content's share, ``(B, 1, H, W)``.

        Every cell of a window is one channel here, shifted to where the window wants it: neither the joint map nor its
        padded copies are ever made. The order is free because all up to the sigmoid is linear, and reflection at the
        border commutes with what acts place by place.
        """
        with without_autocast(self.shifts):
            windows = [cast(nn.Conv2d, window) for window in self.windows]
            cells = torch.cat([window.weight[0].flatten(1).T for window in windows])  # (35, C)
            joint = self.joint.weight[..., 0, 0]
            of_content, of_style = (cells @ half for half in joint.chunk(2, dim=1))
            offsets = [_bias(window) + window.weight.sum((2, 3)) @ _bias(self.joint) for window in windows]
        seen = F.conv2d(content, of_content[..., None, None]) + F.conv2d(style, of_style[..., None, None])
        logits = F.conv2d(reflected(seen, max(WINDOWS) // 2), self.shifts, torch.cat(offsets))
        return logits.sigmoid().mean(1, keepdim=True)


class PAMABlock(nn.Module):
    """Progressive attentional manifold alignment: gather the style where it resembles the content, then interpolate.

    ``Fc, Fs = r(conv_in(content)), r(conv_in(style))``,
    ``A_i = softmax_j(r(f(norm(Fc)))_i . r(g(norm(Fs)))_j) r(h(Fs))_j``,
    ``SpaceAwareInterpolation(Fc, r(conv_out(r(out(A)))))``, with r = ReLU6 and norm over the whole picture.

    Args:
        channels: C; attention has half as many.
        loudness: Root mean square to which every picture's maps are brought after ``conv_in``, before the ReLU6; 0
            leaves them as PAMA does. Nothing else keeps a block's input from drifting: all that enters its 1x1
            convolutions is positive, so that their outputs rise or fall together, and where most of what enters the
            next block lies beyond 0 and 6 it has no gradient any more, and the content is gone.

    Source: public code of Luo et al. 2022 (PAMA), class ``PAMA``; the loudness is ours.
    """

    def __init__(self, channels: int, loudness: float = 0.0) -> None:
        super().__init__()
        self.loudness = loudness
        hidden = channels // 2
        self.conv_in = ReflectConv(channels, channels, relu=False)
        self.query = nn.Conv2d(channels, hidden, 1)
        self.key = nn.Conv2d(channels, hidden, 1)
        self.value = nn.Conv2d(channels, hidden, 1)
        self.out = nn.Conv2d(hidden, channels, 1)
        self.conv_out = ReflectConv(channels, channels, relu=False)
        self.fusion = SpaceAwareInterpolation(channels)
        self._start()

    def enter(self, features: Tensor) -> Entered:
        """Return what the block makes of ``(B, C, H, W)`` before content and style meet: the same for both."""
        maps = _tile_by_tile(self.conv_in, features, halo=1)
        maps = _relu6(_as_loud(maps, self.loudness) if self.loudness else maps)
        return Entered(maps, *channel_statistics(maps))

    def keys(self, style: Tensor) -> Keys:
        """Return keys and values of style features ``(B, C, h, w)``."""
        entered = self.enter(style)
        return Keys(tokens(_relu6(self.key(entered.normal()))), tokens(_relu6(self.value(entered.maps))))

    def key_weights(self) -> list[Tensor]:
        """Return the weights that `keys` depends on."""
        return [parameter for part in (self.conv_in, self.key, self.value) for parameter in part.parameters()]

    def restyle(self, content: Entered, keys: Keys) -> Tensor:
        """Return ``(B, C, H, W)``, of what `enter` returns of a content and `keys` of a style."""

        def restyle(maps: Tensor) -> Tensor:
            queries = _relu6(self.query(Entered(maps, content.mean, content.std).normal()))
            gathered = as_maps(attend(tokens(queries), keys.keys, keys.values), maps.shape[-2:])
            aligned = _relu6(self.conv_out(_relu6(self.out(gathered))))
            mixed: Tensor = self.fusion(maps, aligned)
            return mixed

        return _tile_by_tile(restyle, content.maps, halo=HALO)

    def forward(self, content: Tensor, keys: Keys) -> Tensor:
        """Restyle content features ``(B, C, H, W)`` with what `keys` returns of a style of any size."""
        return self.restyle(self.enter(content), keys)

    @torch.no_grad()
    def _start(self) -> None:
        """Draw weights that let features through as large as they came.

        Of PyTorch's own, which the public code starts from, four blocks leave less than a thousandth of the differences
        between places: there is no path around a block. Queries and keys keep theirs, and with them a soft attention.
        """
        for layer in (self.conv_in.convolution, self.value, self.out, self.conv_out.convolution):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for layer in (self.fusion.content, self.fusion.style):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear").mul_(2)  # the masks start at a half


class Transform(AttentionTransform):
    """`PAMABlock` after `PAMABlock`: the first of a level takes the content's features, the next what it returned.

    The style is every time its own features at that level. With two levels, what leaves the coarser one is resized, and
    SANet's merge joins both.

    Args:
        channels: Of the encoder at the levels, the same at all.
        levels: Layer of every block, in order; relu4_1 at least once, which the decoder paints from.
        loudness: See `PAMABlock`.

    Raises:
        ImpastoError: If there is no relu4_1, or another layer than relu4_1 and relu5_1.

    Source: NeAT section 4.1 for four PAMA blocks; public PAMA code, class ``Net``, for their sequence at relu4_1.
    """

    def __init__(self, channels: int, levels: Sequence[str] = LEVELS, loudness: float = 0.0) -> None:
        super().__init__()
        if DEEP[0] not in levels or not set(levels) <= set(DEEP):
            raise ImpastoError(
                f"model.levels is {list(levels)}: name the layer of every block, relu4_1 at least once, else relu5_1."
            )
        self.levels = tuple(levels)
        self.layers = tuple(name for name in DEEP if name in levels)
        self.blocks = nn.ModuleList(PAMABlock(channels, loudness) for _ in levels)
        self.merge = ReflectConv(channels, channels, relu=False) if len(self.layers) > 1 else None

    def queries(self, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return `Entered` of the contents, in the first block of every level."""
        return tuple(part for name in self.layers for part in self._blocks(name)[0].enter(features[name]))

    def keys(self, features: Mapping[str, Tensor]) -> tuple[Keys, ...]:
        """Return the style's keys and values in every block."""
        return tuple(
            cast(PAMABlock, block).keys(features[name]) for block, name in zip(self.blocks, self.levels, strict=True)
        )

    def key_weights(self) -> list[Tensor]:
        """Return the weights that `keys` depends on."""
        return [weight for block in self.blocks for weight in cast(PAMABlock, block).key_weights()]

    def forward(
        self,
        features: Mapping[str, Tensor],  # noqa: ARG002 - all of them that is needed is in the queries
        queries: Sequence[Tensor],
        keys: Sequence[Keys],
    ) -> Tensor:
        """Return stylised features ``(B, C, H, W)`` at relu4_1's size; see `AttentionTransform.forward`."""
        results = []
        for number, name in enumerate(self.layers):
            first, *others = self._blocks(name)
            known, *later = [key for key, level in zip(keys, self.levels, strict=True) if level == name]
            maps = first.restyle(Entered(*queries[3 * number : 3 * number + 3]), known)
            for block, key in zip(others, later, strict=True):
                maps = block(maps, key)
            results.append(maps)
        if self.merge is None:
            return results[0]
        merged: Tensor = self.merge(results[0] + F.interpolate(results[1], results[0].shape[-2:]))
        return merged

    def _blocks(self, name: str) -> list[PAMABlock]:
        """Return the blocks of a level, in order."""
        return [cast(PAMABlock, block) for block, level in zip(self.blocks, self.levels, strict=True) if level == name]


def _relu6(maps: Tensor) -> Tensor:
    return F.relu6(maps, inplace=True)


def _as_loud(maps: Tensor, loudness: float) -> Tensor:
    """Return maps of every picture brought to a root mean square; without gradients in their own memory."""
    kind = at_least_float32(maps[:0]).dtype
    norm = torch.linalg.vector_norm(maps, dim=(1, 2, 3), keepdim=True, dtype=kind)
    factor = (loudness * maps[0].numel() ** 0.5 / norm.clamp(min=1e-6)).to(maps)
    return maps * factor if torch.is_grad_enabled() else maps.mul_(factor)


def _bias(convolution: nn.Conv2d) -> Tensor:
    return cast(Tensor, convolution.bias)


def _shifts() -> Tensor:
    """Return the kernel that puts every cell of the windows in its place and adds up each window, ``(3, 35, 5, 5)``."""
    middle, cells = max(WINDOWS) // 2, sum(side**2 for side in WINDOWS)
    shifts = torch.zeros(len(WINDOWS), cells, max(WINDOWS), max(WINDOWS))
    places = [
        (window, middle - side // 2 + row, middle - side // 2 + column)
        for window, side in enumerate(WINDOWS)
        for row in range(side)
        for column in range(side)
    ]
    for cell, (window, row, column) in enumerate(places):
        shifts[window, cell, row, column] = 1
    return shifts


def _tile_by_tile(network: Callable[[Tensor], Tensor], maps: Tensor, *, halo: int) -> Tensor:
    """Return ``network(maps)``, which sees ``halo`` places around each, of large maps tile by tile."""
    height, width = maps.shape[-2:]
    if torch.compiler.is_exporting() or torch.is_grad_enabled() or height * width <= TILED_ABOVE:
        return network(maps)
    return in_tiles(lambda part: [network(part)], [maps], (height, width), tile=TILE, halo=halo)[0]
