"""How a method of either kind makes the picture of a task."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from torch import Tensor

from datamodules.images import read_image
from datamodules.masks import read_mask
from experiments.evaluation.protocol import Task
from experiments.evaluation.recipe import Recipe
from experiments.painting.inference import draw, paint, prompt_in_style
from experiments.painting.sizing import Sizing
from experiments.scoring.pairs import Pair
from lightning_modules.base import StyleTransferModule
from lightning_modules.conditions import resized
from lightning_modules.controls import Value, resolve_controls
from lightning_modules.errors import ImpastoError
from lightning_modules.generation import GenerativeModule

StyleCondition = Literal["image", "text"]
NAMES: Mapping[StyleCondition, str] = {"image": "a style picture", "text": "a style in words"}
FIELDS: Mapping[StyleCondition, str] = {"image": "style", "text": "prompt"}


class Hand(Protocol):
    """Somebody who makes the pictures of tasks.

    Attributes:
        settings: What was settled about how, for the record.
    """

    settings: dict[str, Any]

    def make(self, task: Task, files: Pair, seed: int) -> Tensor:
        """Return the picture of a task, ``(3, H, W)``, RGB in [0, 1], the same whatever was made before."""


def hand_of(
    model: StyleTransferModule | GenerativeModule,
    recipe: Recipe,
    tasks: Sequence[Task],
    *,
    condition: StyleCondition | None,
    controls: Mapping[str, Value],
) -> Hand:
    """Return who makes the pictures of a protocol with a method.

    Args:
        model: The method.
        recipe: Of the protocol.
        tasks: What is to be made.
        condition: What the method is given of a style; by default as the recipe says, else as it was validated.
        controls: Values of its inference controls.

    Raises:
        ImpastoError: If the method cannot do what the protocol asks for.
    """
    name = type(model).__name__
    settled = resolve_controls(model.offered, controls, name)
    if isinstance(model, GenerativeModule):
        if condition == "image":
            raise ImpastoError(f"{name} draws from words: leave --condition away.")
        return Draughtsman(model, recipe, settled)
    _require(tasks, "content", f"{name} restyles pictures")
    by = _condition(model, recipe, condition)
    _require(tasks, FIELDS[by], f"{name} is given {NAMES[by]}")
    return Restyler(model, by, settled)


class Restyler:
    """Paints contents, as `impasto stylize` does.

    Args:
        model: The method.
        by: What it is given of a style.
        controls: A value of every inference control.
    """

    def __init__(self, model: StyleTransferModule, by: StyleCondition, controls: Mapping[str, Value]) -> None:
        self._model = model
        self._controls = controls
        self._by: StyleCondition = by
        self.settings = {"condition": by, "controls": dict(controls)}

    def make(self, task: Task, files: Pair, seed: int) -> Tensor:
        """Paint; see `Hand`."""
        assert files.content is not None  # noqa: S101 - hand_of() asked for it
        takes_region = "region" in self._model.conditions
        return paint(
            self._model,
            read_image(files.content),
            style=read_image(files.style) if self._by == "image" and files.style is not None else None,
            prompt=task.prompt if self._by == "text" else None,
            mask=read_mask(files.mask) if takes_region and files.mask is not None else None,
            controls=self._controls,
            seed=seed,
        )


class Draughtsman:
    """Draws captions, or redraws contents, in the style that bears the artist's name.

    Args:
        model: The method.
        recipe: Says how large the pictures are.
        controls: A value of every inference control.
    """

    def __init__(self, model: GenerativeModule, recipe: Recipe, controls: Mapping[str, Value]) -> None:
        self._model = model
        self._controls = controls
        self._side = recipe.resize
        self.settings = {"condition": "text", "controls": dict(controls)}

    def make(self, task: Task, files: Pair, seed: int) -> Tensor:
        """Draw; see `Hand`."""
        content = None if files.content is None else read_image(files.content)
        prompt = prompt_in_style(self._model, task.artist or task.prompt, task.caption or "a picture")
        drawn = draw(self._model, prompt, seeds=[seed], content=content, controls=self._controls)[0]
        return drawn if content is not None or self._side is None else resized(drawn[None], self._sized(drawn))[0]

    def _sized(self, drawn: Tensor) -> tuple[int, int]:
        """Return the size of a drawing that is brought to the pictures of the protocol."""
        height, width = drawn.shape[-2:]
        return Sizing(size=self._side).of((height, width))


def _condition(model: StyleTransferModule, recipe: Recipe, asked: StyleCondition | None) -> StyleCondition:
    name = type(model).__name__
    takes: list[StyleCondition] = [by for by in FIELDS if by in model.conditions]
    if asked is not None and asked not in takes:
        raise ImpastoError(f"{name} takes no {asked} condition: choose --condition {takes[0]}, or leave it away.")
    wanted = asked or recipe.condition or model.validate_with
    return wanted if wanted in takes else takes[0]


def _require(tasks: Sequence[Task], field: str, because: str) -> None:
    missing = sum(getattr(task, field) is None for task in tasks)
    if missing:
        raise ImpastoError(
            f"{because}, and {missing} of {len(tasks)} pairs of the protocol have no {field}: choose another protocol, "
            "or another --condition."
        )
