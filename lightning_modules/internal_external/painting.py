"""Painting by attention between the encoder's features of a content and of a style picture."""

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.base import StyleTransferModule
from lightning_modules.networks.attention_generator import Generator, StyleKeys
from lightning_modules.networks.style_cache import StyleCache
from lightning_modules.networks.tiling import in_tiles
from lightning_modules.networks.vgg import VGGEncoder
from lightning_modules.types import Condition, Manner

# Above 4 megapixels encoder and decoder run tile by tile. Tiles of 1536 pixels; the halos hold how far relu5_1 sees (85
# pixels, in cells of 16) and how far a pixel is seen from by the decoder (30, in cells of 8).
TILED_ABOVE = 2**22
ENCODER_TILE, ENCODER_HALO = 96, 6
DECODER_TILE, DECODER_HALO = 192, 5


class AttentionPainter(StyleTransferModule):
    """A frozen encoder, and a `Generator` that paints a content with what attention gathers of a style picture.

    A subclass sets `encoder` and `generator`.
    """

    conditions: ClassVar[frozenset[Condition]] = frozenset({"image"})
    encoder: VGGEncoder
    generator: Generator

    def __init__(self, *, clip: float | None, accumulate: int, validate_with: Condition) -> None:
        super().__init__(clip=clip, accumulate=accumulate, validate_with=validate_with)
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
            decoded: ``(B, 3, H, W)``.
            content: ``(B, 3, H, W)``, RGB in [0, 1].
            style: ``(B, 3, h, w)``, RGB in [0, 1].
            manner: What the user asks for; None in training.
        """
        return decoded

    def _render(self, content: Tensor, manner: Manner) -> Tensor:
        style = manner.style
        assert style is not None  # noqa: S101 - checked by the base class
        return self.complete(self._decode(content, style, manner.alpha), content, style, manner)

    def _decode(self, content: Tensor, style: Tensor, alpha: float) -> Tensor:
        assert style is not None  # noqa: S101 - checked by the base class
        features = self._encode(content)
        queries = self.generator.transform.queries(features)
        keys = self._styles.keys(style, self.generator.key_weights(), self._style_keys)
        transform, decoder = self.generator.transform, self.generator.decoder
        restyled, statistics = transform(features, queries, keys.levels), list(keys.statistics)
        vector = keys.manner
        if alpha != 1:
            # The content in its own style is what the identity loss has trained: the natural end of the scale.
            own = self.generator.style_keys(features)
            restyled = torch.lerp(transform(features, queries, own.levels), restyled, alpha)
            statistics = [
                (torch.lerp(mean, goal_mean, alpha), torch.lerp(std, goal_std, alpha))
                for (mean, std), (goal_mean, goal_std) in zip(own.statistics, statistics, strict=True)
            ]
            vector = None if vector is None or own.manner is None else torch.lerp(own.manner, vector, alpha)
        inputs = [restyled, *decoder.styled_skips(features, statistics)]
        if content.shape[-2] * content.shape[-1] <= TILED_ABOVE or vector is not None:
            return self.generator.decode(inputs, vector)  # instance norms see the whole picture, and no tile does
        cells = (restyled.shape[-2], restyled.shape[-1])
        return in_tiles(lambda *parts: [decoder(*parts)], inputs, cells, tile=DECODER_TILE, halo=DECODER_HALO)[0]

    def _encode(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features that the generator needs, of pictures ``(B, 3, H, W)``; large ones tile by tile."""
        layers, (height, width) = self.generator.style_layers, images.shape[-2:]
        if height * width <= TILED_ABOVE:
            return cast(dict[str, Tensor], self.encoder(images, layers))
        # Styles come in any size; tiles need whole cells, and a few pixels of a large picture are no loss.
        cells = (height // self.stride, width // self.stride)
        whole = images[..., : cells[0] * self.stride, : cells[1] * self.stride]

        def encode(part: Tensor) -> list[Tensor]:
            maps = self.encoder(part, layers)
            return [maps[name] for name in layers]

        return dict(zip(layers, in_tiles(encode, [whole], cells, tile=ENCODER_TILE, halo=ENCODER_HALO), strict=True))

    def _style_keys(self, style: Tensor) -> StyleKeys:
        """Return the keys of style images, ``(B, 3, h, w)``."""
        small = min(style.shape[-2:]) < 2 * self.stride  # relu5_1 would be a single pixel
        large = F.interpolate(style, (2 * self.stride, 2 * self.stride), mode="bilinear") if small else style
        return self.generator.style_keys(self._encode(large))
