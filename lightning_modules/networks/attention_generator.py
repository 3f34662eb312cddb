"""From the frozen encoder's features to a picture: a transform by attention, and the mirrored decoder."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.networks.manner import MANNER_LAYERS, MannerVector
from lightning_modules.networks.mirrored_decoder import SHALLOW, Decoder, Texture, TexturedDecoder
from lightning_modules.networks.tiling import Source


class Keys(NamedTuple):
    """What a style image contributes to attention at one level: ``(B, h w, C)`` each."""

    keys: Tensor
    values: Tensor


class StyleKeys(NamedTuple):
    """Everything the generator needs of a style image, so that many contents can share it.

    Attributes:
        levels: `Keys` of every attention of the transform.
        statistics: Mean and deviation of the maps that the decoder skips from, ``(B, C, 1, 1)`` each.
        manner: What shapes the layers of a `TexturedDecoder`, ``(B, manner)``.
    """

    levels: tuple[Keys, ...]
    statistics: tuple[tuple[Tensor, Tensor], ...]
    manner: Tensor | None

    def take(self, index: Tensor) -> "StyleKeys":
        """Return the style images at the positions ``index`` ``(N,)`` of the batch."""
        return StyleKeys(
            tuple(Keys(*(part.index_select(0, index) for part in level)) for level in self.levels),
            tuple((mean[index], std[index]) for mean, std in self.statistics),
            None if self.manner is None else self.manner.index_select(0, index),
        )


class AttentionTransform(nn.Module, ABC):
    """What gives content features the style: attention from the content's places to the style's.

    Attributes:
        layers: The encoder's layers that it takes of contents and styles.
    """

    layers: tuple[str, ...]

    @abstractmethod
    def queries(self, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return what of the content's side can be computed once for many styles."""

    @abstractmethod
    def keys(self, features: Mapping[str, Tensor]) -> tuple[Keys, ...]:
        """Return what style features contribute, to be kept for many contents."""

    @abstractmethod
    def key_weights(self) -> list[Tensor]:
        """Return the weights that `keys` depends on."""

    @abstractmethod
    def forward(self, features: Mapping[str, Tensor], queries: Sequence[Tensor], keys: Sequence[Keys]) -> Tensor:
        """Return stylised features ``(B, C, H, W)`` at relu4_1's size.

        Args:
            features: Content features, ``layers``.
            queries: From `queries`, of the same contents.
            keys: From `keys`.
        """


class Generator(nn.Module):
    """Transform and decoder: everything between the frozen encoder's features and a picture.

    Args:
        transform: The method's own attention.
        channels: Of relu1_1 to relu4_1 of the encoder.
        skips: See `Decoder`.
        texture: A decoder that makes texture instead of the paper's.
    """

    def __init__(
        self,
        transform: AttentionTransform,
        channels: Sequence[int],
        *,
        skips: int = 0,
        texture: Texture | None = None,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.manner: MannerVector | None = None
        self.decoder: Decoder | TexturedDecoder
        if texture is None:
            self.decoder = Decoder(channels, skips=skips)
        else:
            self.manner = MannerVector(channels, texture.manner)
            self.decoder = TexturedDecoder(channels, texture.widths, texture.manner, skips=skips)

    @property
    def content_layers(self) -> tuple[str, ...]:
        """The layers of contents that it needs."""
        return self.transform.layers if self.decoder.skips is None else (*SHALLOW, *self.transform.layers)

    @property
    def style_layers(self) -> tuple[str, ...]:
        """The layers of styles that it needs."""
        manner = () if self.manner is None else MANNER_LAYERS
        return tuple(dict.fromkeys((*self.content_layers, *manner)))

    def style_keys(self, features: Mapping[str, Tensor]) -> StyleKeys:
        """Return what style images contribute, from their features."""
        shallow = SHALLOW if self.decoder.skips is not None else ()
        statistics = tuple(channel_statistics(features[name]) for name in shallow)
        manner = None if self.manner is None else self.manner(features)
        return StyleKeys(self.transform.keys(features), statistics, manner)

    def key_weights(self) -> list[Tensor]:
        """Return the weights that `style_keys` depends on."""
        manner = [] if self.manner is None else [*self.manner.parameters(), *self.manner.buffers()]
        return [*self.transform.key_weights(), *manner]

    def decode(
        self, inputs: Sequence[Source], manner: Tensor | None, seed: Tensor | None = None, *, tile: int = 0
    ) -> Tensor:
        """Paint; ``(B, 3, H, W)``, unbounded.

        Args:
            inputs: The output of ``transform`` and what `SkippingDecoder.styled_skips` returns.
            manner: Of `StyleKeys`.
            seed: Of every picture's noise, ``(B,)``, int64; by default 0.
            tile: Side of tiles that are painted one after the other, in pixels; 0 for all at once.
        """
        paint = partial(self.decoder.in_tiles, tile=tile) if tile else self.decoder
        if manner is None:
            return cast(Tensor, paint(*inputs))
        seed = torch.zeros(len(manner), dtype=torch.int64, device=manner.device) if seed is None else seed
        return cast(Tensor, paint(*inputs, manner=manner, seed=seed))

    def forward(
        self,
        features: Mapping[str, Tensor],
        queries: Sequence[Tensor],
        style: StyleKeys,
        seed: Tensor | None = None,
    ) -> Tensor:
        """Paint contents, given their features and queries, with styles; ``(B, 3, H, W)``, unbounded."""
        skips = self.decoder.styled_skips(features, style.statistics)
        return self.decode([self.transform(features, queries, style.levels), *skips], style.manner, seed)
