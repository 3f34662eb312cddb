"""A patch discriminator that looks through the frozen encoder and knows whose manner is asked for."""

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from lightning_modules.losses.adversarial import hinge_discriminator, hinge_generator
from lightning_modules.networks.noise import place_noise

Maps = Mapping[str, Tensor]


class Exhibit(NamedTuple):
    """Pictures before a critic.

    Attributes:
        maps: Layer name to the encoder's maps, ``(B, C, H, W)``.
        condition: Whose manner is asked for, ``(B, D)``.
    """

    maps: Maps
    condition: Tensor


class Trial(NamedTuple):
    """What `TextureCritic.adversary` keeps for `TextureCritic.loss`."""

    painted: Exhibit
    paintings: Exhibit
    artist: Tensor


class CriticHead(nn.Module):
    """Two convolutions over one layer of the encoder and a score for every place.

    ``out(h) + <project(condition), h> / sqrt(width)`` with ``h`` the hidden map.

    Args:
        channels: Of the encoder's layer.
        condition: Length of the condition.
        width: Channels of the hidden map.
        stride: Of the first convolution.

    Source: Miyato & Koyama 2018 (projection discriminator), eq. 9.
    """

    def __init__(self, channels: int, condition: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
        )
        self.out = nn.Conv2d(width, 1, 1)
        self.project = nn.Linear(condition, width, bias=False)
        nn.init.normal_(self.project.weight, std=0.05)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, maps: Tensor, conditions: Tensor) -> Tensor:
        """Score every picture under every condition.

        Args:
            maps: ``(B, channels, H, W)``.
            conditions: ``(K, condition)``.

        Returns:
            ``(B, K, h, w)``.
        """
        hidden = self.body(maps)
        return self._scores(hidden, torch.einsum("bchw,kc->bkhw", hidden, self.project(conditions)))

    def own(self, maps: Tensor, conditions: Tensor) -> Tensor:
        """Score every picture under its own condition only; ``(B, 1, h, w)``."""
        hidden = self.body(maps)
        return self._scores(hidden, torch.einsum("bchw,bc->bhw", hidden, self.project(conditions)).unsqueeze(1))

    def _scores(self, hidden: Tensor, likeness: Tensor) -> Tensor:
        scores: Tensor = self.out(hidden) + likeness / hidden.shape[1] ** 0.5
        return scores


class TextureCritic(nn.Module):
    """Tell stylised pictures from paintings, and paintings from those of other painters, patch by patch.

    It sees what the frozen encoder makes of the pictures at several layers, which the other losses have computed
    already. Channel statistics cannot tell cells from dots; a patch of the maps can.

    In a training step `adversary` comes first and gives the generator's term; `loss` is then the critic's own, on the
    same pictures.

    Args:
        channels: Channels of every layer that is looked at.
        condition: Length of the vector that says whose manner is asked for.
        width: Channels of the hidden maps.

    Source: ours for style transfer. Sauer et al. 2021 (Projected GANs), section 3, for discriminators on frozen
        features; Reed et al. 2016, section 4.2, for true pictures under a wrong condition as a second kind of fake.
    """

    def __init__(self, channels: Mapping[str, int], condition: int, width: int = 32) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {  # the maps of the first block are as large as the picture: every second place will do
                layer: CriticHead(count, condition, width, stride=2 if layer.startswith("relu1") else 1)
                for layer, count in channels.items()
            }
        )
        self._trial: Trial | None = None

    def adversary(self, painted: Exhibit, paintings: Exhibit, artist: Tensor) -> Tensor:
        """Return the generator's loss on its pictures, and keep both exhibits for `loss`.

        Args:
            painted: What the generator made, with gradients.
            paintings: True ones, any number of them.
            artist: The numbers of their painters: a painting is no fake under a colleague's name who is himself.
        """
        kept = painted._replace(maps={layer: painted.maps[layer].detach() for layer in self.heads})
        self._trial = Trial(kept, paintings, artist)
        return hinge_generator(self._own_scores(painted))

    def loss(self) -> Tensor:
        """Return the critic's own loss on what `adversary` was given last.

        Raises:
            RuntimeError: If `adversary` was not called since the last time.
        """
        if self._trial is None:
            raise RuntimeError("There is nothing to judge: call adversary() first.")
        painted, paintings, artist = self._trial
        self._trial = None
        under_all = [head(paintings.maps[layer], paintings.condition) for layer, head in self._heads()]
        true = [scores.diagonal(dim1=0, dim2=1) for scores in under_all]
        foreign = (artist[:, None] != artist).float()
        return hinge_discriminator(true, self._own_scores(painted), under_all, foreign)

    def _own_scores(self, exhibit: Exhibit) -> list[Tensor]:
        return [head.own(exhibit.maps[layer], exhibit.condition) for layer, head in self._heads()]

    def _heads(self) -> list[tuple[str, CriticHead]]:
        return [(layer, cast(CriticHead, head)) for layer, head in self.heads.items()]


def painter_codes(artist: Tensor, dim: int) -> Tensor:
    """Return a vector of mean 0 and variance 1 for every painter's number: a condition where there are no words.

    The vectors are drawn once and for all, so that no table has to know how many painters there are.

    Args:
        artist: ``(B,)``, int64.
        dim: Length of a vector.

    Returns:
        ``(B, dim)``.
    """
    return place_noise(artist, 1, dim).flatten(1)
