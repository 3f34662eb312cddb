"""Data modules: any content source with any style source, batched as artists times contents."""

import lightning_modules  # noqa: F401  its import makes torchvision importable on CPU-only machines
