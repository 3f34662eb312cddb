"""CLAST (arXiv 2410.09566): artist style transfer by text or image through contrastive learning."""

from lightning_modules.clast.module import CLAST

__all__ = ["CLAST"]
