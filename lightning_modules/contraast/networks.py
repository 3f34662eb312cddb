"""ContraAST's transform: style attention at two levels, as in SANet."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.losses.statistics import normalize_channels
from lightning_modules.networks.attention import as_maps, attend, tokens
from lightning_modules.networks.attention_generator import AttentionTransform, Keys
from lightning_modules.networks.mirrored_decoder import ReflectConv

DEEP = ("relu4_1", "relu5_1")


class StyleAttention(nn.Module):
    """One style-attentional network: every content position gathers the style positions that resemble it.

    ``out(softmax_j(f(norm(Fc))_i . g(norm(Fs))_j) h(Fs)_j) + Fc``, all maps 1x1 convolutions, no scaling of the logits.

    Args:
        channels: C.

    Source: Park & Lee 2019 (SANet), eq. 1-3; public ContraAST code, class ``SANet``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def queries(self, content: Tensor) -> Tensor:
        """Return queries ``(B, H W, C)`` of content features ``(B, C, H, W)``."""
        return tokens(self.query(normalize_channels(content)))

    def keys(self, style: Tensor) -> Keys:
        """Return keys and values of style features ``(B, C, h, w)``."""
        return Keys(tokens(self.key(normalize_channels(style))), tokens(self.value(style)))

    def forward(self, content: Tensor, queries: Tensor, keys: Keys) -> Tensor:
        """Restyle.

        Args:
            content: Raw features ``(B, C, H, W)``.
            queries: Of ``content``, from `queries`.
            keys: Of the style, from `keys`; h and w may differ from H and W.

        Returns:
            ``(B, C, H, W)``.
        """
        gathered = attend(queries, keys.keys, keys.values)
        restyled: Tensor = self.out(as_maps(gathered, content.shape[-2:])) + content
        return restyled


class Transform(AttentionTransform):
    """Two `StyleAttention` levels and their merge.

    Args:
        channels: Of relu4_1 and of relu5_1, which must be as many.

    Source: public ContraAST code, class ``Transform``; SANet's notebook doubles relu5_1 instead of resizing it, and
    so needs even sizes.
    """

    layers = DEEP

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(StyleAttention(channels) for _ in DEEP)
        self.merge = ReflectConv(channels, channels, relu=False)

    def queries(self, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the content's queries at both levels."""
        return tuple(attention.queries(features[name]) for attention, name in self._levels())

    def keys(self, features: Mapping[str, Tensor]) -> tuple[Keys, Keys]:
        """Return the style's keys and values at both levels."""
        upper, lower = (attention.keys(features[name]) for attention, name in self._levels())
        return upper, lower

    def key_weights(self) -> list[Tensor]:
        """Return the weights that `keys` depends on."""
        maps = [part for attention, _ in self._levels() for part in (attention.key, attention.value)]
        return [parameter for part in maps for parameter in part.parameters()]

    def forward(self, features: Mapping[str, Tensor], queries: Sequence[Tensor], keys: Sequence[Keys]) -> Tensor:
        """Return stylised features ``(B, C, H, W)`` at relu4_1's size.

        Args:
            features: Content features, ``relu4_1`` and ``relu5_1``.
            queries: From `queries`, of the same contents.
            keys: From `keys`.
        """
        upper, lower = (
            attention(features[name], query, key)
            for (attention, name), query, key in zip(self._levels(), queries, keys, strict=True)
        )
        merged: Tensor = self.merge(upper + F.interpolate(lower, upper.shape[-2:]))
        return merged

    def _levels(self) -> list[tuple[StyleAttention, str]]:
        return [(cast(StyleAttention, attention), name) for attention, name in zip(self.attentions, DEEP, strict=True)]
