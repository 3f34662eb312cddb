"""How a stylised picture is judged: pure functions in ``functional``, one ``torchmetrics.Metric`` over each."""

import lightning_modules  # noqa: F401  (installs the torchvision shim before anything imports torchvision)
