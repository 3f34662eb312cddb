"""Groups of CLAST's settings, as they stand in YAML."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term; with balancing, the ratio of its gradient at the stylised pictures to that of the first.

    Attributes:
        content: MSE of channel-normalised features, out against content.
        style: MSE of channel means and standard deviations, out against the style image.
        clip: Directional CLIP of the whole picture.
        clip_patch: Directional CLIP of random patches.
        contrastive: Supervised contrast over artist labels.
        lpips: LPIPS, out against content.
        identity: Mean absolute error when a content is its own style. Not balanced: it pulls at reconstructions and
            not at the stylised pictures, and the gradient of an absolute error has one norm however small the error is.
        tv: Total variation.
        texture: Adversary of a critic that tells painters' patches apart, see `TextureCritic`; not in the paper.
    """

    content: float = 1.0
    style: float = 1.0
    clip: float = 0.5
    clip_patch: float = 0.5
    contrastive: float = 0.3
    lpips: float = 0.5
    identity: float = 0.0
    tv: float = 0.0
    texture: float = 0.0


@dataclass(frozen=True)
class Patches:
    """The crops of the patch-wise directional loss (CLIPstyler).

    Attributes:
        count: Patches of each picture.
        size: Side in pixels.
        distortion: Scale of the random perspective, in [0, 1].
        threshold: Losses below it count as 0.
    """

    count: int = 16
    size: int = 112
    distortion: float = 0.5
    threshold: float = 0.7
