"""Groups of ContraAST's settings, as they stand in YAML."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of eq. 7 and eq. 4; a weight of 0 takes the term, and what only it needs, away.

    With balancing, the ratio of its gradient at the stylised pictures to that of the first.

    Attributes:
        style: lambda 1, eq. 1.
        adversarial: lambda 2, eq. 2.
        content: lambda 3, eq. 3.
        identity_image: lambda identity 1 (times lambda 4, which is 1), eq. 4. Not balanced, as the next one: they pull
            at pictures of their own.
        identity_feature: lambda identity 2 (times lambda 4), eq. 4.
        style_contrast: lambda 5, eq. 5.
        content_contrast: lambda 6, eq. 6.
        texture: Adversary of a critic that tells painters' patches apart, see `TextureCritic`; not in the paper.
        manner_contrast: Supervised contrast of the styles' vectors over painters, see `MannerVector`; not in the paper.
            Not balanced: it pulls at no picture.
    """

    style: float = 1.0
    adversarial: float = 5.0
    content: float = 1.0
    identity_image: float = 50.0
    identity_feature: float = 1.0
    style_contrast: float = 0.3
    content_contrast: float = 0.3
    texture: float = 0.0
    manner_contrast: float = 0.0
