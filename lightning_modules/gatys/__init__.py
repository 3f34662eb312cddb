"""Gatys: a baseline, pixels fitted to a content and a style (Gatys et al. 2016)."""

from lightning_modules.gatys.module import Gatys

__all__ = ["Gatys"]
