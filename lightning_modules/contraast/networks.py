"""ContraAST's trainable networks: SANet transform, generator, multi-scale discriminator, projection heads."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.contraast.decoders import SHALLOW, Decoder, ReflectConv, TexturedDecoder
from lightning_modules.contraast.manner import MannerVector
from lightning_modules.contraast.settings import Texture
from lightning_modules.errors import ImpastoError
from lightning_modules.losses.precision import at_least_float32, without_autocast
from lightning_modules.losses.statistics import channel_statistics, normalize_channels

DEEP = ("relu4_1", "relu5_1")


class Keys(NamedTuple):
    """What a style image contributes to attention at one level: ``(B, h w, C)`` each."""

    keys: Tensor
    values: Tensor


class StyleKeys(NamedTuple):
    """Everything the generator needs of a style image, so that many contents can share it.

    Attributes:
        levels: `Keys` of relu4_1 and relu5_1.
        statistics: Mean and deviation of the maps that the decoder skips from, ``(B, C, 1, 1)`` each.
        manner: What shapes the layers of a `TexturedDecoder`, ``(B, manner)``.
    """

    levels: tuple[Keys, Keys]
    statistics: tuple[tuple[Tensor, Tensor], ...]
    manner: Tensor | None

    def take(self, index: Tensor) -> "StyleKeys":
        """Return the style images at the positions ``index`` ``(N,)`` of the batch."""
        return StyleKeys(
            tuple(Keys(*(part.index_select(0, index) for part in level)) for level in self.levels),  # type: ignore[arg-type]
            tuple((mean[index], std[index]) for mean, std in self.statistics),
            None if self.manner is None else self.manner.index_select(0, index),
        )


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
        return _tokens(self.query(normalize_channels(content)))

    def keys(self, style: Tensor) -> Keys:
        """Return keys and values of style features ``(B, C, h, w)``."""
        return Keys(_tokens(self.key(normalize_channels(style))), _tokens(self.value(style)))

    def forward(self, content: Tensor, queries: Tensor, keys: Keys) -> Tensor:
        """Restyle.

        Args:
            content: Raw features ``(B, C, H, W)``.
            queries: Of ``content``, from `queries`.
            keys: Of the style, from `keys`; h and w may differ from H and W.

        Returns:
            ``(B, C, H, W)``.
        """
        # The logits are sums over hundreds of channels without scaling: too large for half precision.
        with without_autocast(queries):
            gathered = F.scaled_dot_product_attention(
                at_least_float32(queries).unsqueeze(1),
                at_least_float32(keys.keys).unsqueeze(1),
                at_least_float32(keys.values).unsqueeze(1),
                scale=1.0,
            ).squeeze(1)
        maps = gathered.transpose(1, 2).unflatten(2, content.shape[-2:])
        restyled: Tensor = self.out(maps) + content
        return restyled


class Transform(nn.Module):
    """Two `StyleAttention` levels and their merge.

    Args:
        channels: Of relu4_1 and of relu5_1, which must be as many.

    Source: public ContraAST code, class ``Transform``; SANet's notebook doubles relu5_1 instead of resizing it, and
    so needs even sizes.
    """

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


class Generator(nn.Module):
    """Transform and decoder: everything between the frozen encoder's features and a picture.

    Args:
        channels: Of relu1_1 to relu5_1 of the encoder.
        skips: See `Decoder`.
        texture: A decoder that makes texture instead of the paper's.
    """

    def __init__(self, channels: Sequence[int], *, skips: int = 0, texture: Texture | None = None) -> None:
        super().__init__()
        self.transform = Transform(channels[3])
        self.manner: MannerVector | None = None
        self.decoder: Decoder | TexturedDecoder
        if texture is None:
            self.decoder = Decoder(channels[:4], skips=skips)
        else:
            self.manner = MannerVector(channels[:4], texture.manner)
            self.decoder = TexturedDecoder(channels[:4], texture.widths, texture.manner, skips=skips)

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

    def decode(self, inputs: Sequence[Tensor], manner: Tensor | None, seed: Tensor | None = None) -> Tensor:
        """Paint; ``(B, 3, H, W)``, unbounded.

        Args:
            inputs: The output of ``transform`` and what `SkippingDecoder.styled_skips` returns.
            manner: Of `StyleKeys`.
            seed: Of every picture's noise, ``(B,)``, int64; by default 0.
        """
        if manner is None:
            return cast(Tensor, self.decoder(*inputs))
        seed = torch.zeros(len(manner), dtype=torch.int64, device=manner.device) if seed is None else seed
        return cast(Tensor, self.decoder(*inputs, manner=manner, seed=seed))

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


class PatchDiscriminator(nn.Sequential):
    """Four strided convolutions and a map of patch logits.

    Args:
        width: Channels of the first layer; doubled by each of the next three.
    """

    def __init__(self, width: int) -> None:
        widths = [width * 2**layer for layer in range(4)]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))


class MultiScaleDiscriminator(nn.Module):
    """Equal patch discriminators on the picture and on smaller copies of it.

    Args:
        scales: Number of discriminators.
        width: See `PatchDiscriminator`.

    Source: Wang et al. 2018 (pix2pixHD), section 3.2; public ContraAST code, ``MultiDiscriminator``.
    """

    def __init__(self, scales: int = 3, width: int = 64) -> None:
        super().__init__()
        self.models = nn.ModuleList(PatchDiscriminator(width) for _ in range(scales))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Judge pictures ``(B, 3, H, W)``; patch logits ``(B, 1, h, w)`` of every scale, finest first.

        Raises:
            ImpastoError: If the smallest copy ends in no patch, or in a single one, whose instance norm is nothing.
        """
        height, width = images.shape[-2:]
        short = 16 * 2 ** (len(self.models) - 1)
        if min(height, width) < short or max(height, width) < 2 * short:
            raise ImpastoError(
                f"Pictures of {width}x{height} pixels are too small for {len(self.models)} discriminators, which need "
                f"a shorter side of at least {short} and a longer one of {2 * short}: raise data.size, or lower "
                "model.discriminator_scales."
            )
        scores = []
        for scale, model in enumerate(self.models):
            if scale:
                images = F.avg_pool2d(images, 3, 2, 1, count_include_pad=False)
            scores.append(model(images))
        return scores


class ProjectionHead(nn.Module):
    """From a feature map to a unit vector for contrast: sum over space, two-layer MLP, L2 norm.

    Args:
        inputs: Channels of the map.
        hidden: Units of the first layer.
        outputs: Length of the vector.

    Source: ContraAST section 3.2; public code, ``proj_style`` and ``proj_content``, for the sum over positions.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int = 128) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs)``."""
        with without_autocast(features):  # sums over thousands of positions leave the range of half precision
            return F.normalize(self.mlp(at_least_float32(features).sum((2, 3))), dim=1)


def _tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)
