"""Keeps a long training's state in a file, so that what was interrupted goes on where it was."""

import time
from pathlib import Path
from typing import Any

import torch

from lightning_modules.files import replacing

EVERY = 120.0  # seconds between two writings


class Unfinished:
    """A training's parts, in a file and back.

    Args:
        path: Where to keep them.
        parts: Whatever has a ``state_dict``, by name.
        generator: What the training draws from; kept along.

    Attributes:
        step: The next step to do.
        cpu_seconds: What all steps so far took, in this process and in earlier ones.
    """

    def __init__(self, path: Path, parts: dict[str, Any], generator: torch.Generator) -> None:
        self.path = path
        self.parts = parts
        self.generator = generator
        self.step = 0
        self.cpu_seconds = 0.0
        self._written = time.monotonic()
        self._counted = time.process_time()
        if path.is_file():
            self._restore(torch.load(path, map_location="cpu", weights_only=True))

    def done(self) -> None:
        """Count a step, and write where it is time to."""
        self.step += 1
        if time.monotonic() - self._written > EVERY:
            self.write()

    def write(self) -> None:
        """Write everything, or nothing."""
        now = time.process_time()
        self.cpu_seconds, self._counted = self.cpu_seconds + now - self._counted, now
        state = {name: part.state_dict() for name, part in self.parts.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            torch.save(
                {
                    "step": self.step,
                    "cpu_seconds": self.cpu_seconds,
                    "generator": self.generator.get_state(),
                    "parts": state,
                },
                temporary,
            )
        self._written = time.monotonic()

    def _restore(self, saved: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(saved["parts"][name])
        self.generator.set_state(saved["generator"])
        self.step, self.cpu_seconds = saved["step"], saved["cpu_seconds"]
