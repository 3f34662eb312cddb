"""What is run: the ``impasto`` command, and one folder of YAML per method."""

import lightning_modules  # noqa: F401  (installs the torchvision shim: without it, `import lightning` fails on a CPU)
