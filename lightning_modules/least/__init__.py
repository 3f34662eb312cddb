"""LEAST (arXiv 2405.16330): local style transfer by words, a network fitted to every picture and region."""

from lightning_modules.least.module import LEAST

__all__ = ["LEAST"]
