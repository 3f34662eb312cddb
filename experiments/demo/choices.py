"""Who can be chosen on the page: trained runs, painters that ship, and methods that need no training."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from experiments.painting.inference import FOLDER, REDRAWN, find_checkpoint, open_any, profile_of, recipe_of
from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import class_of
from lightning_modules.controls import Control
from lightning_modules.errors import ImpastoError
from lightning_modules.generation import GenerativeModule
from lightning_modules.shipped import PREFIX, painters
from lightning_modules.types import Condition

MODELS = 2  # in memory: as many as are compared
SEED = Control("seed", 0, "Of what a method draws at random: another seed is another picture.", low=0, high=2**31 - 1)
REDRAW = Control("strength", REDRAWN, "How much of a photograph is redrawn: 0 nothing, 1 all.", low=0.0, high=1.0)


class Choice(NamedTuple):
    """One of the list.

    Attributes:
        label: What the page calls it; no two are equal.
        checkpoint: As of `find_checkpoint`; None of a method that needs none.
        config: The YAML file of such a method.
    """

    label: str
    checkpoint: Path | None
    config: Path | None = None


@dataclass(frozen=True)
class Offer:
    """What a choice takes, known without building its networks.

    Attributes:
        name: Of the method, spelt as its class.
        takes: The conditions.
        requires: Those that it cannot do without.
        draws: Whether it draws from words, and needs no photograph.
        optimises: Whether every picture takes a fit.
        controls: What a user may set, with the defaults of the checkpoint.
    """

    name: str
    takes: frozenset[Condition]
    requires: frozenset[Condition]
    draws: bool
    optimises: bool
    controls: tuple[Control, ...]

    @property
    def either(self) -> bool:
        """Whether its style is a picture or words, one of both."""
        styles = {"image", "text"}
        return self.takes >= styles and not self.requires >= styles

    def uses(self, by: Condition) -> frozenset[Condition]:
        """Return the conditions that count where the user wants the style to come ``by`` a picture or words."""
        return self.takes - ({"image", "text"} - {by}) if self.either else self.takes


def find_choices(runs: Path, profile: str = "tiny") -> list[Choice]:
    """List all that can paint here: checkpoints, the newest first, painters that ship, methods without a checkpoint.

    Args:
        runs: Searched for ``<method>/<name>/checkpoints/*.ckpt``; ``latest`` only repeats one of them.
        profile: Of the methods without a checkpoint; ``tiny`` where a method has no such profile.

    Raises:
        ImpastoError: If no method that needs no checkpoint has that profile.
    """
    found = [path for path in runs.glob("*/*/checkpoints/*.ckpt") if path.parts[-3] != "latest" and path.is_file()]
    trained = [
        Choice(f"{path.parts[-4]}/{path.parts[-3]}, {path.stem}", path)
        for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    ]
    shipped = [Choice(PREFIX + name, Path(PREFIX + name)) for name in painters()]
    return [*trained, *shipped, *_untrained(profile)]


def _untrained(profile: str) -> list[Choice]:
    methods = [path.parent.name for path in sorted(FOLDER.glob("*/tiny.yaml")) if _needs_no_training(path)]
    there = {method: FOLDER / method / f"{profile}.yaml" for method in methods}
    if methods and not any(path.is_file() for path in there.values()):
        profile_of(methods[0], profile)  # which says what there is
    return [
        Choice(f"{method}, without a checkpoint", None, path if path.is_file() else FOLDER / method / "tiny.yaml")
        for method, path in there.items()
    ]


def _needs_no_training(config: Path) -> bool:
    kind = class_of(recipe_of(None, [config]))
    return issubclass(kind, StyleTransferModule) and not kind.trains


class Studio:
    """The painters behind the list; those that painted last stay in memory.

    Args:
        choices: The list; the labels are all that comes from a page, and no path is made of them.
        device: Where the models run.
    """

    def __init__(self, choices: Sequence[Choice], device: str) -> None:
        self._choices = {choice.label: choice for choice in choices}
        self._device = device
        self._offer = lru_cache(maxsize=None)(self._described)
        self._model = lru_cache(maxsize=MODELS)(self._loaded)

    @property
    def labels(self) -> list[str]:
        """The list, as the page shows it."""
        return list(self._choices)

    def offer(self, label: str) -> Offer:
        """Return what one of the list takes.

        Raises:
            ImpastoError: If there is no such choice, or its checkpoint cannot be read.
        """
        return self._offer(self._of(label), self._age(label))

    def model(self, label: str) -> StyleTransferModule | GenerativeModule:
        """Return one of the list, ready to paint.

        Raises:
            ImpastoError: As of `offer`, or if weights are missing.
        """
        return self._model(self._of(label), self._age(label))

    def _of(self, label: str) -> Choice:
        try:
            return self._choices[label]
        except (KeyError, TypeError) as error:
            raise ImpastoError("That painter is not in the list: choose one of it.") from error

    def _age(self, label: str) -> int:
        """Return when a checkpoint was written: a training that goes on writes ``last.ckpt`` anew."""
        checkpoint = self._of(label).checkpoint
        file = None if checkpoint is None else find_checkpoint(checkpoint)
        return file.stat().st_mtime_ns if file is not None and file.is_file() else 0

    def _described(self, choice: Choice, _age: int) -> Offer:
        recipe = recipe_of(choice.checkpoint, [] if choice.config is None else [choice.config])
        kind: Any = class_of(recipe)
        if not issubclass(kind, StyleTransferModule | GenerativeModule):
            raise ImpastoError(f"{kind.__name__} paints nothing: choose a method that does.")
        draws = issubclass(kind, GenerativeModule)
        declared = kind.offers((recipe.get("init_args") or {}).get("controls"))
        return Offer(
            name=kind.__name__,
            takes=frozenset({"text"}) if draws else kind.conditions,
            requires=frozenset({"text"}) if draws else kind.requires,
            draws=draws,
            optimises=not draws and kind.optimises,
            controls=(*declared, *([REDRAW] if draws else []), SEED),
        )

    def _loaded(self, choice: Choice, _age: int) -> StyleTransferModule | GenerativeModule:
        configs = [] if choice.config is None else [choice.config]
        return open_any(choice.checkpoint, configs, self._device)
