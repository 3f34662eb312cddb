"""ContraAST: internal-external learning with two contrastive losses (Chen et al. 2021)."""

from lightning_modules.contraast.module import ContraAST

__all__ = ["ContraAST"]
