"""Who paints: every trained method, once for each way in which it can be told a style."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from benchmarks.meter import Meter
from experiments.painting.inference import draw, find_checkpoint, open_model, paint, prompt_in_style
from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import checkpoint_class
from lightning_modules.generation import GenerativeModule
from lightning_modules.types import Condition

WORDS: dict[Condition, str] = {"text": "by name", "image": "by picture"}


class Task(NamedTuple):
    """One picture to paint.

    Attributes:
        content: ``(3, H, W)``, uint8.
        style: ``(3, h, w)``, uint8.
        prompt: The painter's name, where he has one.
    """

    content: Tensor
    style: Tensor
    prompt: str | None


class Stylist(Protocol):
    """Somebody who paints.

    Attributes:
        name: For tables and titles.
        takes: What he looks at, ``text`` or ``image``.
    """

    name: str
    takes: Condition

    def paint(self, tasks: Sequence[Task]) -> tuple[list[Tensor], list[float]]:
        """Return the paintings, each ``(3, H, W)``, uint8, of its content's size, and the CPU seconds of each."""


class Method:
    """A method of this repo, which paints one picture at a time, as `impasto stylize` does.

    Args:
        name: What to call it.
        model: The trained method.
        takes: Which of its conditions it is given.
    """

    def __init__(self, name: str, model: StyleTransferModule, takes: Condition) -> None:
        self.name = f"{name} {WORDS[takes]}"
        self.model = model
        self.takes = takes

    def paint(self, tasks: Sequence[Task]) -> tuple[list[Tensor], list[float]]:
        """Paint; see `Stylist`."""
        meter, painted = Meter(torch.device("cpu"), 0), []
        self._paint(tasks[0])  # what is made once, such as a table of a scan's positions, is not painting
        seconds = [meter.seconds(lambda task=task: painted.append(self._paint(task))) for task in tasks]  # type: ignore[misc]
        return painted, seconds

    def _paint(self, task: Task) -> Tensor:
        style = task.style / 255 if self.takes == "image" else None
        prompt = task.prompt if self.takes == "text" else None
        return eight_bits(paint(self.model, task.content / 255, style=style, prompt=prompt))


class Redrawer(Method):
    """A method that draws from words: it redraws the content, in the style that bears the painter's name.

    Args:
        name: What to call it.
        model: The trained method; of a painter whom it has not learnt its pipeline knows what the name says to it.
    """

    def __init__(self, name: str, model: GenerativeModule) -> None:
        self.name = f"{name} {WORDS['text']}"
        self.takes = "text"
        self._drawer = model

    def _paint(self, task: Task) -> Tensor:
        prompt = prompt_in_style(self._drawer, task.prompt)
        return eight_bits(draw(self._drawer, prompt, seeds=[0], content=task.content / 255)[0])


def eight_bits(picture: Tensor) -> Tensor:
    """Return a picture in [0, 1] as the file of it would be, uint8: every contender is judged by such."""
    return (picture * 255 + 0.5).to(torch.uint8)


def open_methods(checkpoints: dict[str, str], conditions: Sequence[Condition]) -> list[Stylist]:
    """Return every method once for each condition that it takes.

    Args:
        checkpoints: Name to checkpoint, or to the folder of a run.
        conditions: Those that are wanted.

    Raises:
        ImpastoError: If a checkpoint cannot be read.
    """
    models = {name: open_model(Path(path), "cpu") for name, path in checkpoints.items()}
    return [stylist for name, model in models.items() for stylist in _stylists(name, model, conditions)]


def _stylists(
    name: str, model: StyleTransferModule | GenerativeModule, conditions: Sequence[Condition]
) -> list[Stylist]:
    if isinstance(model, GenerativeModule):
        return [Redrawer(name, model)] if "text" in conditions else []
    return [Method(name, model, by) for by in conditions if by in model.conditions]


def newest_runs(runs: Path = Path("runs")) -> dict[str, str]:
    """Return the newest run of every method that paints or draws, by the method's name."""
    latest = {path.parent.name: path for path in sorted(runs.glob("*/latest"))}
    found = {name: path for name, path in latest.items() if any((path / "checkpoints").glob("*.ckpt"))}
    return {
        name: str(path)
        for name, path in found.items()
        if issubclass(checkpoint_class(find_checkpoint(path)), StyleTransferModule | GenerativeModule)
    }
