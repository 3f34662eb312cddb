"""How each method learns: one package per paper, and the networks, losses and weights that they share."""

from lightning_modules.torchvision_shim import install

install()
