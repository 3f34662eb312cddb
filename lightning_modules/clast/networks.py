"""CLAST's trainable networks: channel adapters, adaLN-SSM fusion, decoder (specs of the released code, section 1a)."""

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.losses.statistics import normalize_channels
from lightning_modules.networks.decoder_layer import DecoderLayer, Norm
from lightning_modules.networks.selective_scan import DirectionalMixer, Mamba1Mixer, ScanOrder, SSDMixer

MixerName = Literal["ssd", "steady", "mamba1"]


class AdaLNBlock(nn.Module):
    """One adaLN-SSM block: a scan and an MLP, each shifted, scaled and gated by the style code.

    ``x = x + gate1 * Mixer(LN(x) * (1 + scale1) + shift1)``, then
    ``x = x + gate2 * MLP(LN(x) * (1 + scale2) + shift2)``.

    Args:
        dim: Channels of the tokens.
        style_dim: Length of the style code.
        mixer: ``ssd`` is the chunked Mamba-2 form, ``steady`` the same with a mean for a state (see `SSDMixer`),
            ``mamba1`` the recurrence of the released code.
        order: Directions of the scan.
        zero_init: Start as the identity (adaLN-Zero of DiT: SiLU before the linear map, which starts at zero).

    Source: CLAST section 3.2; public code, class ``Mamba_v2`` (no SiLU, default initialisation).
    """

    def __init__(
        self, dim: int, style_dim: int, *, mixer: MixerName = "ssd", order: ScanOrder = "unidi", zero_init: bool = True
    ) -> None:
        super().__init__()
        self.activation = nn.SiLU() if zero_init else nn.Identity()
        self.modulation = nn.Linear(style_dim, 6 * dim)
        if zero_init:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)
        self.norm = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.mixer = DirectionalMixer(
            Mamba1Mixer(dim) if mixer == "mamba1" else SSDMixer(dim, steady=mixer == "steady"), order
        )
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim))

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """Fuse one level.

        Args:
            features: ``(B, dim, H, W)``.
            style: ``(B, style_dim)``.

        Returns:
            ``(B, dim, H, W)``.
        """
        height, width = features.shape[-2:]
        tokens = features.flatten(2).transpose(1, 2)  # B, HW, dim
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            self.modulation(self.activation(style)).unsqueeze(1).chunk(6, dim=-1)
        )
        tokens = tokens + gate1 * self.mixer(self.norm(tokens) * (1 + scale1) + shift1, height, width)
        tokens = tokens + gate2 * self.mlp(self.norm(tokens) * (1 + scale2) + shift2)
        fused: Tensor = tokens.transpose(1, 2).unflatten(2, (height, width))
        return fused


class StyleFusion(nn.Module):
    """Adapters, multi-level keys and one `AdaLNBlock` per level.

    Level k sees the channel-normalised maps of levels 0..k, brought to its size by nearest neighbours.

    Args:
        encoder_channels: Channels of relu3_1, relu4_1, relu5_1.
        widths: Channels of the three levels; 64, 128, 320 in the released code.
        style_dim: Length of the style code.
        mixer: See `AdaLNBlock`.
        order: See `AdaLNBlock`.
        zero_init: See `AdaLNBlock`.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        widths: Sequence[int],
        style_dim: int,
        *,
        mixer: MixerName = "ssd",
        order: ScanOrder = "unidi",
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(encoder_channels, widths, strict=True))
        dims = [sum(widths[: level + 1]) for level in range(len(widths))]
        self.blocks = nn.ModuleList(
            AdaLNBlock(dim, style_dim, mixer=mixer, order=order, zero_init=zero_init) for dim in dims
        )
        self.outputs = nn.ModuleList(nn.Conv2d(dim, width, 1) for dim, width in zip(dims, widths, strict=True))

    def forward(self, features: Sequence[Tensor], style: Tensor) -> list[Tensor]:
        """Fuse the content with the style.

        Args:
            features: relu3_1, relu4_1, relu5_1: ``(B, C_k, H / 2**(k + 2), W / 2**(k + 2))``.
            style: ``(B, style_dim)``.

        Returns:
            Three maps of ``widths`` channels, the sizes of ``features``.
        """
        adapted = [F.relu(adapter(map_)) for adapter, map_ in zip(self.adapters, features, strict=True)]
        fused = []
        for level, (block, output) in enumerate(zip(self.blocks, self.outputs, strict=True)):
            fused.append(output(block(self._key(adapted, level), style)))
        return fused

    @staticmethod
    def _key(adapted: Sequence[Tensor], level: int) -> Tensor:
        size = adapted[level].shape[-2:]
        # Resize first, then normalise: the statistics are those of the resized map, as in the public get_key.
        maps = [F.interpolate(map_, size) for map_ in adapted[:level]] + [adapted[level]]
        return torch.cat([normalize_channels(map_) for map_ in maps], dim=1)


class Decoder(nn.Module):
    """From three fused levels back to RGB, layer for layer the released decoder up to width and normalisation.

    Args:
        widths: Channels of the three levels.
        hidden: Channels at relu3_1's resolution; 256 in the released code, halved at every later doubling.
        norm: See `DecoderLayer`.
        style_dim: Length of the style code.
        skips: Channels of instance-normalised relu1_1 and relu2_1 that join the last two stages; 0 for none.
        skip_channels: Channels of relu1_1 and relu2_1 in the encoder.
        noise: Whether every normalised layer adds noise, see `StyledNoise`. The last two doublings are bilinear then:
            nearest neighbours make blocks of the noise, and bricks of the blocks.
    """

    def __init__(
        self,
        widths: Sequence[int],
        hidden: int,
        norm: Norm,
        style_dim: int,
        *,
        skips: int = 0,
        skip_channels: Sequence[int] = (64, 128),
        noise: bool = False,
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        half, quarter = hidden // 2, hidden // 4

        self.doubling = "bilinear" if noise else "nearest"
        numbers = itertools.count()

        def layer(inputs: int, outputs: int, norm: Norm | None, *, relu: bool = True) -> DecoderLayer:
            number = next(numbers) if noise and norm is not None else None
            return DecoderLayer(inputs, outputs, norm, style_dim, relu=relu, noise=number)

        self.merge = layer(coarse, middle, norm, relu=False)
        self.expand = layer(middle, hidden, norm)
        self.stage3 = nn.ModuleList([layer(hidden + fine, hidden, norm), layer(hidden, hidden, None)])
        self.leave3 = layer(hidden, half, norm)
        self.stage2 = nn.ModuleList([layer(half + skips, half, None), layer(half, quarter, norm)])
        self.stage1 = layer(quarter + skips, quarter, norm)
        self.to_rgb = layer(quarter, 3, None, relu=False)
        self.skips = nn.ModuleList(GatedSkip(c, skips, style_dim) for c in skip_channels) if skips else None
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, fused: Sequence[Tensor], style: Tensor, shallow: Sequence[Tensor] = (), seed: Tensor | None = None
    ) -> Tensor:
        """Paint.

        Args:
            fused: The output of `StyleFusion`.
            style: ``(B, style_dim)``.
            shallow: relu1_1 and relu2_1 of the content; only with ``skips``.
            seed: Of every picture's noise, ``(B,)``, int64; by default 0.

        Returns:
            ``(B, 3, H, W)``, unbounded.
        """
        seed = torch.zeros(len(style), dtype=torch.int64, device=style.device) if seed is None else seed
        # Convolutions and norms together take about half the time in this format, measured on a CPU with AVX-512.
        fine, middle, coarse = (map_.contiguous(memory_format=torch.channels_last) for map_ in fused)
        upsampled = F.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        features = middle + self.merge(upsampled, style, seed)
        features = F.interpolate(self.expand(features, style, seed), scale_factor=2.0, mode="bilinear")
        features = torch.cat([features, fine], dim=1)
        for layer in [*self.stage3, self.leave3]:
            features = layer(features, style, seed)
        features = self._join(F.interpolate(features, scale_factor=2.0, mode=self.doubling), 1, shallow, style)
        for layer in self.stage2:
            features = layer(features, style, seed)
        features = self._join(F.interpolate(features, scale_factor=2.0, mode=self.doubling), 0, shallow, style)
        rgb: Tensor = self.to_rgb(self.stage1(features, style, seed), style, seed)
        return rgb

    def _join(self, features: Tensor, level: int, shallow: Sequence[Tensor], style: Tensor) -> Tensor:
        if self.skips is None:
            return features
        return torch.cat([features, self.skips[level](shallow[level], style)], dim=1)


class GatedSkip(nn.Module):
    """A narrow path for the content's fine structure, opened per channel by the style code.

    Beyond the paper: its finest feature is relu3_1 at stride 4, so thin structure has to be invented again.

    Args:
        inputs: Channels of the shallow map.
        outputs: Channels of the skip.
        style_dim: Length of the style code.
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)
        self.gate = nn.Linear(style_dim, outputs)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)`` under the style code ``(B, style_dim)``."""
        gate = torch.sigmoid(self.gate(style))[..., None, None]
        opened: Tensor = gate * self.reduce(normalize_channels(features))
        return opened
