import os

# Set before any test imports a library that reads them: no network, no account, one thread per process.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("MPLBACKEND", "Agg")

import lightning_modules  # noqa: F401  (installs the torchvision shim)
