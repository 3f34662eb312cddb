"""The two frozen networks that the predictor looks through: one that knows what is shown, one that knows how."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.clip import centre_square
from lightning_modules.networks.dinov2 import DINOv2
from lightning_modules.networks.edges import luma
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.stand_ins import StyleStandIn
from lightning_modules.networks.vgg import VGGEncoder
from lightning_modules.weights import (
    Need,
    WeightsSource,
    load_aladin,
    load_artist_classifier,
    load_csd,
    load_dinov2,
    load_vgg,
    load_vit,
    need_csd,
    need_vgg,
)

ContentBranch = Literal["vgg", "dinov2s_imgfocus", "vit"]
StyleBranch = Literal["vgg", "csd", "dinov2s_imgfocus", "artist", "aladin"]
DEEP = ("relu4_1", "relu5_1")
DINO_SIDE = 224
MIDDLE = (3, 5, 7)  # of twelve
FORMAT = "1"  # of features; another number is another cache
SAMPLED = 64  # numbers of a tensor that tell it from another


class DeepMeans(FrozenNetwork):
    """What a VGG's deep layers see, wherever they see it: their means over the picture, each of unit length.

    Colours are left out, here and in `Moments`: every painter has a palette, and those that were learnt by heart say
    nothing of the next painter's.

    Args:
        encoder: The VGG.
    """

    def __init__(self, encoder: VGGEncoder) -> None:
        super().__init__(encoder.source)
        self.digest = encoder.digest
        self.encoder = encoder
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, D)`` of ``(B, 3, H, W)``, RGB in [0, 1], sides of 16 on."""
        maps = self.encoder(without_colours(images), DEEP)
        return torch.cat([F.normalize(maps[layer].mean((2, 3)), dim=1) for layer in DEEP], 1)


class Moments(FrozenNetwork):
    """How a picture is done: means and deviations of a VGG's layers, without the picture's colours.

    Args:
        encoder: The VGG.
    """

    def __init__(self, encoder: VGGEncoder) -> None:
        super().__init__(encoder.source)
        self.digest = encoder.digest
        self.descriptor = StyleStandIn(encoder)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, D)`` of ``(B, 3, H, W)``, RGB in [0, 1], sides of 16 on."""
        moments: Tensor = self.descriptor(without_colours(images))
        return moments


class LastTokens(FrozenNetwork):
    """What a picture shows: the mean of a DINOv2's tokens behind its last block, of the square in the middle.

    Args:
        network: The DINOv2.
    """

    def __init__(self, network: DINOv2) -> None:
        super().__init__(network.source)
        self.network = network
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, D)`` of ``(B, 3, H, W)``, RGB in [0, 1], any size."""
        last = len(self.network.blocks) - 1
        mean: Tensor = self.network(centre_square(images, DINO_SIDE).clamp(0, 1), [last])[last].mean(1)
        return mean


class MiddleMoments(FrozenNetwork):
    """How a picture is done: means and deviations of a DINOv2's tokens behind blocks in its middle.

    The last blocks see things, the first ones edges. Of each block, mean and deviation have unit length.

    Args:
        network: The DINOv2.
        blocks: Which, counted from 0.
    """

    def __init__(self, network: DINOv2, blocks: Sequence[int] = MIDDLE) -> None:
        super().__init__(network.source)
        self.network = network
        self.blocks = tuple(block for block in blocks if block < len(network.blocks))
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, 2 D blocks)`` of ``(B, 3, H, W)``, RGB in [0, 1], any size."""
        found = self.network(centre_square(images, DINO_SIDE).clamp(0, 1), self.blocks)
        parts = [part for tokens in found.values() for part in (tokens.mean(1), tokens.std(1, correction=0))]
        return torch.cat([F.normalize(part, dim=1) for part in parts], 1)


class ArtistFeatures(FrozenNetwork):
    """What the last layer of an artist classifier sees.

    Args:
        network: The classifier.
    """

    def __init__(self, network: FrozenNetwork) -> None:
        super().__init__(network.source)
        self.network = network
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(B, D)`` of ``(B, 3, H, W)``, RGB in [0, 1]."""
        features: Tensor = self.network.features(images)  # type: ignore[operator]  # artist classifiers have it
        return features


class Choice(NamedTuple):
    """A branch as a configuration names it.

    Attributes:
        load: From the source of weights to the network.
        need: What decides where ``auto`` is left open; None where there is one source only.
    """

    load: Callable[[WeightsSource], FrozenNetwork]
    need: Callable[[], Need] | None = None


CONTENT: Mapping[str, Choice] = {
    "vgg": Choice(lambda weights: DeepMeans(load_vgg(weights)), need_vgg),
    "dinov2s_imgfocus": Choice(lambda weights: LastTokens(_dinov2(weights))),
    "vit": Choice(lambda weights: load_vit("random" if weights == "random" else "pretrained")),
}
STYLE: Mapping[str, Choice] = {
    "vgg": Choice(lambda weights: Moments(load_vgg(weights)), need_vgg),
    "csd": Choice(load_csd, need_csd),
    "dinov2s_imgfocus": Choice(lambda weights: MiddleMoments(_dinov2(weights))),
    "artist": Choice(
        lambda weights: ArtistFeatures(load_artist_classifier("random" if weights == "random" else "embedded"))
    ),
    "aladin": Choice(lambda weights: load_aladin("random" if weights == "random" else "pretrained")),
}


def needs_of(*choices: Choice) -> list[Need]:
    """Return what decides where weights ``auto`` come from."""
    return [choice.need() for choice in choices if choice.need is not None]


def without_colours(images: Tensor) -> Tensor:
    """Return the pictures in grey, of three channels still."""
    return luma(images).expand_as(images)


@torch.no_grad()
def width_of(branch: nn.Module, side: int) -> int:
    """Return how many features a branch gives of a square picture."""
    return int(branch(torch.zeros(1, 3, side, side)).shape[1])


def identity_of(name: str, branch: FrozenNetwork, side: int) -> str:
    """Return a name for a branch's features that changes with its weights and with the side that it sees.

    Args:
        name: As the configuration has it.
        branch: The network.
        side: Of the pictures, in pixels.
    """
    kind = type(branch).__qualname__  # one network may be two branches
    digest = hashlib.sha256("\n".join((FORMAT, name, kind, branch.signature, str(side))).encode())
    for tensor in branch.state_dict().values():  # a source may mean other weights in another version
        flat = tensor.detach().flatten()
        digest.update(flat[:: max(1, len(flat) // SAMPLED)].cpu().numpy().tobytes())
    return f"{name}-{digest.hexdigest()[:20]}"


def _dinov2(weights: WeightsSource) -> DINOv2:
    if weights != "random":
        return load_dinov2()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DINOv2(source="random")
