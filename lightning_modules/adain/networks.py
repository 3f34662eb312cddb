"""Adaptive instance normalisation as a transform: what a style contributes is a mean and a deviation a channel."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from lightning_modules.losses.statistics import channel_statistics, normalize_channels
from lightning_modules.networks.attention_generator import AttentionTransform, Keys

DEEPEST = "relu4_1"


class Transform(AttentionTransform):
    """``AdaIN(c, s) = sigma(s) (c - mu(c)) / sigma(c) + mu(s)`` on relu4_1; nothing in it is learnt.

    To the generator it is an attention that looks at no place: a style's one key is its mean, the value its deviation.

    Source: Huang & Belongie 2017, eq. 8.
    """

    layers = (DEEPEST,)

    def queries(self, features: Mapping[str, Tensor]) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return nothing: no place asks for anything."""
        return ()

    def keys(self, features: Mapping[str, Tensor]) -> tuple[Keys, ...]:
        """Return mean and deviation of the style's channels, ``(B, 1, C)`` each."""
        mean, std = (moment.flatten(2).mT for moment in channel_statistics(features[DEEPEST]))
        return (Keys(mean, std),)

    def key_weights(self) -> list[Tensor]:
        """Return nothing: there are no weights."""
        return []

    def forward(self, features: Mapping[str, Tensor], queries: Sequence[Tensor], keys: Sequence[Keys]) -> Tensor:  # noqa: ARG002
        """Return the content's features with the style's mean and deviation, ``(B, C, H, W)``."""
        mean, std = (moment.mT[..., None] for moment in keys[0])
        return normalize_channels(features[DEEPEST]) * std + mean
