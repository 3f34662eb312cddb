"""AdaIN: a baseline, content features in the statistics of the style (Huang & Belongie 2017)."""

from lightning_modules.adain.module import AdaIN

__all__ = ["AdaIN"]
