"""Groups of NeAT's settings, as they stand in YAML."""

from dataclasses import dataclass

from lightning_modules.internal_external import settings


@dataclass(frozen=True)
class LossWeights(settings.LossWeights):
    """Weight of each term of eq. 8; those of eq. 1 to 6 are ContraAST's, since the paper gives none.

    Attributes:
        patch_simple: lambda ps, eq. 7, of the windows where little goes on.
        patch_complex: lambda pc, of those where much does.
    """

    patch_simple: float = 0.25
    patch_complex: float = 0.75
