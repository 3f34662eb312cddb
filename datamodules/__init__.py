"""What the methods learn from: content sources, style sources and the batches made of them."""

import lightning_modules  # noqa: F401  (installs the torchvision shim before anything imports torchvision)
