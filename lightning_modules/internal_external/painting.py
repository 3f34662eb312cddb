"""Painting by attention between the encoder's features of a content and of a style picture."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.base import StyleTransferModule
from lightning_modules.conditions import check_conditions, pad, shrink
from lightning_modules.controls import Value, preset
from lightning_modules.memory import tile_side
from lightning_modules.networks.attention_generator import Generator, StyleKeys
from lightning_modules.networks.mirrored_decoder import SHALLOW
from lightning_modules.networks.style_cache import StyleCache
from lightning_modules.networks.tiled_encoder import encode_in_tiles, shallow_map
from lightning_modules.networks.tiling import Source
from lightning_modules.networks.vgg import VGGEncoder, stride_of
from lightning_modules.portable import Graph, Painting, fixed, numbers, picture
from lightning_modules.types import Condition, Manner

OWN_SIDE = 1024
"""Pixels of the longer side at which a content is a style for itself: attention between all its places is quadratic."""
MAPS_AT_ONCE = 4
"""Of the widest layer: what goes into a convolution, the same with a border, what comes out, and one to spare."""


class AttentionPainter(StyleTransferModule):
    """A frozen encoder, and a `Generator` that paints a content with what attention gathers of a style picture.

    A subclass sets `encoder` and `generator`.
    """

    conditions: ClassVar[frozenset[Condition]] = frozenset({"image"})
    tiles: ClassVar[bool] = True
    encoder: VGGEncoder
    generator: Generator

    def __init__(
        self,
        *,
        clip: float | None,
        accumulate: int,
        validate_with: Condition,
        controls: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate, validate_with=validate_with, controls=controls)
        self._styles = StyleCache()

    def complete(
        self,
        decoded: Tensor,
        content: Tensor,  # noqa: ARG002 - a method that edits the content needs it, and the next ones
        style: Tensor,  # noqa: ARG002
        manner: Manner | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Return pictures, ``(B, 3, H, W)``, of what the decoder returned: by default that.

        Args:
            decoded: ``(B, 3, H, W)``, or the size of what `looked_at` returned.
            content: ``(B, 3, H, W)``, RGB in [0, 1].
            style: ``(B, 3, h, w)``, RGB in [0, 1].
            manner: What the user asks for; None in training.
        """
        return decoded

    def looked_at(self, content: Tensor, manner: Manner) -> Tensor:  # noqa: ARG002 - for a method that edits
        """Return contents as the networks see them, in any whole number of strides: by default as they are.

        Args:
            content: ``(B, 3, H, W)``, RGB in [0, 1], of whole strides.
            manner: What the user asks for.
        """
        return content

    def portable(
        self,
        by: Condition,
        controls: Mapping[str, Value] | None = None,
        prompts: Sequence[str] = (),  # noqa: ARG002 - it takes none
    ) -> Graph:
        """Return the network of tensors alone; see `StyleTransferModule.portable`."""
        check_conditions(type(self).__name__, self.conditions, self.requires, frozenset({by}))
        offered = preset(self.offered, controls, type(self).__name__)
        inputs = (
            picture("content", "What to paint"),
            picture("style", "A painting to follow, of 1024 pixels at most"),
            *numbers(offered),
        )
        remaining = fixed(offered)

        def paint(content: Tensor, style: Tensor, alpha: Tensor, **changing: Tensor) -> Tensor:
            content = pad(content, self.stride)
            asked = remaining | {name: number[0] for name, number in changing.items()}
            alpha = alpha[0]
            manner = Manner(style, None, None, cast(float, alpha), cast(dict[str, Value], asked))
            decoded = self._decode_in_graph(self.looked_at(content, manner), style, alpha)
            return self.complete(decoded, content, style, manner)

        return Graph(Painting(self, paint, inputs), inputs, remaining)

    def _decode_in_graph(self, content: Tensor, style: Tensor, alpha: Tensor) -> Tensor:
        """Do what `_decode` does without tiles, with a strength that is known when the graph runs."""
        generator, transform = self.generator, self.generator.transform
        features = self._encode(content, generator.style_layers, 0)
        keys = generator.style_keys(self._encode(style, generator.style_layers, 0))
        queries = transform.queries(features)
        restyled = transform(features, queries, keys.levels)
        given = [restyled, *(part for pair in keys.statistics for part in pair)]
        given += [] if keys.manner is None else [keys.manner]

        def blended() -> list[Tensor]:
            own = generator.style_keys(features)
            ends = [transform(features, queries, own.levels), *(part for pair in own.statistics for part in pair)]
            ends += [] if own.manner is None else [own.manner]
            mixed = [torch.lerp(start, end, alpha) for start, end in zip(ends, given, strict=True)]
            return [part.reshape(-1).clone() for part in mixed]

        # The way of the content's own style is as long as the other one, and nobody who paints at 1 shall go it.
        # Both ways return lines: of maps, the strides may differ between them.
        lines = torch.cond(alpha == 1, lambda: [part.reshape(-1).clone() for part in given], blended)
        restyled, *rest = [line.view(part.shape) for line, part in zip(lines, given, strict=True)]
        manner = None if keys.manner is None else rest.pop()
        statistics = list(zip(rest[::2], rest[1::2], strict=True))
        return generator.decode([restyled, *generator.decoder.styled_skips(features, statistics)], manner)

    def _render(self, content: Tensor, manner: Manner) -> Tensor:
        style = manner.style
        assert style is not None  # noqa: S101 - checked by the base class
        decoded = self._decode(self.looked_at(content, manner), style, manner.alpha)
        return self.complete(decoded, content, style, manner)

    def _decode(self, content: Tensor, style: Tensor, alpha: float) -> Tensor:
        tile = tile_side(_pixels(content), self._bytes_per_pixel(content), content.device, self.tile)
        inputs, vector = self._restyle(content, style, alpha, tile)
        return self.generator.decode(inputs, vector, tile=tile)

    def _restyle(self, content: Tensor, style: Tensor, alpha: float, tile: int) -> tuple[list[Source], Tensor | None]:
        """Return what the decoder takes: restyled maps, skips, and the vector of the style."""
        generator, transform = self.generator, self.generator.transform
        # In tiles, shallow maps are computed where they are looked at.
        layers = transform.layers if tile else generator.style_layers
        features = self._encode(content, layers, tile)
        queries = transform.queries(features)
        keys = self._styles.keys(style, generator.key_weights(), self._style_keys)
        restyled, statistics, vector = transform(features, queries, keys.levels), list(keys.statistics), keys.manner
        if alpha != 1:
            # The content in its own style is what the identity loss has trained: the natural end of the scale.
            own = self._own_keys(content, features, tile)
            restyled = torch.lerp(transform(features, queries, own.levels), restyled, alpha)
            statistics = [
                (torch.lerp(mean, goal_mean, alpha), torch.lerp(std, goal_std, alpha))
                for (mean, std), (goal_mean, goal_std) in zip(own.statistics, statistics, strict=True)
            ]
            vector = None if vector is None or own.manner is None else torch.lerp(own.manner, vector, alpha)
        if not tile or generator.decoder.skips is None:
            return [restyled, *generator.decoder.styled_skips(features, statistics)], vector
        shallow = {name: shallow_map(self.encoder, content, name, tile=tile) for name in SHALLOW}
        return [restyled, *generator.decoder.tiled_skips(shallow, statistics)], vector

    def _own_keys(self, content: Tensor, features: Mapping[str, Tensor], tile: int) -> StyleKeys:
        """Return the keys of contents as styles of themselves; of large ones, as of a style picture of `OWN_SIDE`."""
        if not tile and max(content.shape[-2:]) <= OWN_SIDE:
            return self.generator.style_keys(features)
        return self._style_keys(shrink(content, OWN_SIDE))

    def _style_keys(self, style: Tensor) -> StyleKeys:
        """Return the keys of style images, ``(B, 3, h, w)``."""
        small = min(style.shape[-2:]) < 2 * self.stride  # relu5_1 would be a single pixel
        large = F.interpolate(style, (2 * self.stride, 2 * self.stride), mode="bilinear") if small else style
        wanted = 0 if self.tile == 0 else None  # tiles of a user's size are for the content
        tile = tile_side(_pixels(large), self._bytes_per_pixel(large), large.device, wanted)
        return self.generator.style_keys(self._encode(large, self.generator.style_layers, tile))

    def _encode(self, images: Tensor, layers: tuple[str, ...], tile: int) -> dict[str, Tensor]:
        """Return features of pictures ``(B, 3, H, W)``."""
        if not tile:
            return cast(dict[str, Tensor], self.encoder(images, layers))
        # Styles come in any size; tiles need whole cells, and a few pixels of a large picture are no loss.
        height, width = (side // self.stride * self.stride for side in images.shape[-2:])
        return encode_in_tiles(self.encoder, images[..., :height, :width], layers, tile=tile)

    def _bytes_per_pixel(self, images: Tensor) -> float:
        """Return what encoder and decoder take for a pixel, all of it at once."""
        channels = self.encoder.channels
        widest = max(channels["relu1_1"], self.generator.decoder.finest)
        kept = sum(channels[name] / stride_of(name) ** 2 for name in self.generator.style_layers)
        return images.element_size() * (MAPS_AT_ONCE * widest + kept)


def _pixels(images: Tensor) -> int:
    return len(images) * images.shape[-2] * images.shape[-1]
