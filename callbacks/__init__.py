"""What happens around training: metrics, pictures, the saved configuration, the summary of a run."""

import lightning_modules  # noqa: F401  (installs the torchvision shim before anything imports torchvision)
