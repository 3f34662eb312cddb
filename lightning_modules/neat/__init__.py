"""NeAT: neural artistic tracing for high resolution style transfer (Ruta et al. 2024)."""

from lightning_modules.neat.module import NeAT

__all__ = ["NeAT"]
