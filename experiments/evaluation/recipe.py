"""A recipe: how a protocol is made of somebody's pictures, and how what is painted is measured."""

from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

from experiments.suggestions import explain
from lightning_modules.errors import ImpastoError
from lightning_modules.weights import WeightsSource

PRESETS = Path(__file__).resolve().parents[1] / "protocols"
Unit = Literal["content", "style", "clip"]
Pairing = Literal["every", "artists", "captions", "jobs", "clips", "procedural"]


@dataclass(frozen=True)
class Networks:
    """Where the judging networks come from.

    Args:
        weights: Of all but the artist classifier.
        classifier: ``embedded``, or the file of an artist classifier.
    """

    weights: WeightsSource = "auto"
    classifier: str = "embedded"


@dataclass(frozen=True)
class Estimator:
    """How means and their intervals are made: the percentile bootstrap.

    Args:
        resample: What is drawn with replacement; empty for the pairs themselves. With content and style both, a pair
            counts as often as its content times its style was drawn.
        resamples: How often.
        level: Share of the means inside the interval.
        seed: Of the draws.
    """

    resample: tuple[Unit, ...] = ()
    resamples: int = 2000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """A protocol without pictures.

    Args:
        name: What tables call it.
        source: Where it is from, and what is not said there.
        pairing: How contents and styles come together; see `experiments.evaluation.pairing`.
        metrics: Names of the catalogue.
        counts: How many contents, styles, artists, clips and pairs there must be; one number, or all that it may be.
        options: Of the pairing.
        condition: Whether a method that takes both gets the style picture or the style in words; None leaves it to
            how the method was validated.
        resize: Short side of all pictures, in pixels; None leaves them as they are.
        crop: ``centre`` cuts the middle square, ``stretch`` makes a square of the whole; None keeps the proportions.
        networks: Of the judges.
        estimator: Of the means.
        seed: Of the random numbers that a method draws; the pair of number n is painted with ``seed + n``.
        warm_up: Pictures that are painted before the clock counts.
    """

    name: str
    source: str
    pairing: Pairing
    metrics: list[str]
    counts: dict[str, int | list[int]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    condition: Literal["image", "text"] | None = None
    resize: int | None = None
    crop: Literal["centre", "stretch"] | None = None
    networks: Networks = field(default_factory=Networks)
    estimator: Estimator = field(default_factory=Estimator)
    seed: int = 0
    warm_up: int = 3


RECIPE_KEYS = frozenset(each.name for each in fields(Recipe))


def presets() -> dict[str, Path]:
    """Return the protocols that come with Impasto, by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def protocol_file(name: str) -> Path:
    """Return the file of a protocol: of a preset, or the path itself.

    Raises:
        ImpastoError: If there is neither.
    """
    known = presets()
    path = known.get(name, Path(name))
    if not path.is_file():
        raise ImpastoError(f"There is no protocol {name}: give a file, or one of {', '.join(known)}.")
    return path


def read_mapping(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds.

    Raises:
        ImpastoError: If it cannot be read, or is no mapping.
    """
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a protocol may have 20,000 pairs
    try:
        text = path.read_text(encoding="utf-8")
        loader = yaml.SafeLoader if r"\ud" in text else fast  # libyaml knows no names that are no UTF-8
        found = yaml.load(text, Loader=loader)  # noqa: S506 - a safe one either way
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ImpastoError(f"The protocol {path} cannot be read ({reason}): take another copy of it.") from error
    if not isinstance(found, dict):
        raise ImpastoError(f"The protocol {path} holds no settings: take one of {PRESETS} as an example.")
    return found


def parse_recipe(settings: Mapping[str, Any], path: Path) -> Recipe:
    """Return the recipe that a file's settings are.

    Args:
        settings: Of the file.
        path: Of the file, for messages.

    Raises:
        ImpastoError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe)
    try:
        recipe = Recipe(**parser.instantiate(parser.parse_object(dict(settings))).as_dict())
    except ArgumentError as error:
        raise ImpastoError(f"The protocol {path} does not fit: {explain(error, sorted(RECIPE_KEYS))}") from error
    _check(recipe, path)
    return recipe


def _check(recipe: Recipe, path: Path) -> None:
    wrong = {
        "resize must be at least 16 pixels": recipe.resize is not None and recipe.resize < 16,
        "crop: stretch needs a resize": recipe.crop == "stretch" and recipe.resize is None,
        "warm_up must not be negative": recipe.warm_up < 0,
        "metrics names none": not recipe.metrics,
        "estimator.resamples must be at least 1": recipe.estimator.resamples < 1,
        "estimator.level must lie between 0 and 1": not 0 < recipe.estimator.level < 1,
        "counts must be positive": min((low for each in recipe.counts.values() for low in _numbers(each)), default=1)
        < 1,
    }
    for sentence, holds in wrong.items():
        if holds:
            raise ImpastoError(f"The protocol {path} does not fit: {sentence}.")


def check_counts(recipe: Recipe, there: Mapping[str, int]) -> None:
    """Refuse pictures that are not as many as a recipe wants.

    Args:
        recipe: The recipe.
        there: How many there are, by the names of ``counts``.

    Raises:
        ImpastoError: If one of them is another.
    """
    for name, wanted in recipe.counts.items():
        if there.get(name, 0) not in _numbers(wanted):
            numbers = " or ".join(map(str, _numbers(wanted)))
            raise ImpastoError(
                f"The protocol {recipe.name} has {numbers} {name}, and here are {there.get(name, 0)}: give other "
                "folders, or take fewer pairs on purpose with --limit N."
            )


def most(recipe: Recipe, name: str) -> int | None:
    """Return how many of something a recipe wants where that is one number; None where any number will do."""
    wanted = recipe.counts.get(name)
    return wanted if isinstance(wanted, int) else None


def _numbers(wanted: int | list[int]) -> list[int]:
    return [wanted] if isinstance(wanted, int) else wanted
