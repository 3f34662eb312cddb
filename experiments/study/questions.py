"""What people are asked: shuffled pictures of evaluated folders, and the key that says whose each is."""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from experiments.evaluation.result import ROWS, read_result
from lightning_modules.errors import ImpastoError
from lightning_modules.files import csv_rows

Item = TypeVar("Item")
HUMAN = "human"
"""Whose the style pictures are."""
ASKED = {
    "overall": "Which picture do you like best, as a painting of the content in the manner of the style?",
    "content": "Which picture keeps structure and details of the content best, whatever its style?",
    "style": "Which picture comes nearest to the style, whatever it shows?",
    "deception": "Did a person paint this picture?",
}
"""Questions by name; the first three choose one of several pictures, the last judges one. Sources: NeAT, section 5.2
(content, style, overall), ContraAST, section 4.3 (favourite, deception)."""
REAL, MADE = "yes", "no"


@dataclass(frozen=True)
class Method:
    """An evaluated folder.

    Attributes:
        name: Of the method, or of the folder where two are of one method.
        folder: Where it lies.
        rows: Of its table, by the id of the pair.
    """

    name: str
    folder: Path
    rows: dict[str, dict[str, str]]

    def file(self, pair: str, kind: str) -> Path | None:
        """Return a picture of a pair: ``stylized``, ``content`` or ``style``; None where it has none."""
        name = self.rows[pair].get(kind)
        return self.folder / name if name else None


@dataclass(frozen=True)
class Option:
    """A picture that can be chosen.

    Attributes:
        id: Tells nothing.
        method: Whose it is.
        file: Where it lies.
    """

    id: str
    method: str
    file: Path


@dataclass(frozen=True)
class Trial:
    """One question about one picture, or some of one pair.

    Attributes:
        id: Tells nothing.
        question: A key of `ASKED`.
        pair: Of the protocol.
        options: What can be chosen; one where a picture is judged.
        content: What is shown beside them.
        style: What is shown beside them.
    """

    id: str
    question: str
    pair: str
    options: list[Option]
    content: Path | None = None
    style: Path | None = None


@dataclass
class Study:
    """All trials, and the key to them.

    Attributes:
        id: Tells studies apart.
        protocol: Name and hash of the protocol.
        methods: All names.
        trials: In no order that says anything.
    """

    id: str
    protocol: dict[str, Any]
    methods: list[str]
    trials: list[Trial] = field(default_factory=list)

    def key(self) -> dict[str, Any]:
        """Return whose every picture is; JSON."""
        trials = {
            trial.id: {
                "question": trial.question,
                "pair": trial.pair,
                "options": {option.id: option.method for option in trial.options},
            }
            for trial in self.trials
        }
        return {"format": 1, "study": self.id, "protocol": self.protocol, "methods": self.methods, "trials": trials}


@dataclass(frozen=True)
class Plan:
    """How many of what are asked.

    Attributes:
        questions: Keys of `ASKED`.
        pairs: Pairs of the protocol for every question that chooses.
        pictures: For the deception: of every method, and as many by people.
        together: Show the pictures of all methods at once, rather than of two.
        seed: Of what is drawn; None draws anew every time.
    """

    questions: Sequence[str] = ("overall",)
    pairs: int = 20
    pictures: int = 10
    together: bool = False
    seed: int | None = None


def read_methods(folders: Sequence[Path]) -> tuple[list[Method], dict[str, Any]]:
    """Read evaluated folders.

    Returns:
        What they hold, and name and hash of their protocol.

    Raises:
        ImpastoError: If there are fewer than two, one is not finished, or they are of different protocols.
    """
    if len(folders) < 2:
        raise ImpastoError("A study compares methods: give at least two folders of `impasto evaluate`.")
    results = [read_result(folder) for folder in folders]
    protocol = {key: results[0]["protocol"][key] for key in ("name", "sha256")}
    for folder, result in zip(folders, results, strict=True):
        if result["protocol"]["sha256"] != protocol["sha256"]:
            raise ImpastoError(
                f"{folder} was evaluated on the protocol {result['protocol']['name']} "
                f"{result['protocol']['sha256'][:12]}, and {folders[0]} on {protocol['name']} "
                f"{protocol['sha256'][:12]}: people must see the same pairs, evaluate one of them again."
            )
    names = [str(result["method"]) for result in results]
    if len(set(names)) < len(names):
        names = _telling([folder.resolve() for folder in folders])
    if len(set(names)) < len(names) or HUMAN in names:
        raise ImpastoError(f"The folders cannot be told apart by {' and '.join(names)}: give others, or rename one.")
    rows = [_rows(folder) for folder in folders]
    for folder, own in zip(folders, rows, strict=True):
        if own.keys() != rows[0].keys():
            raise ImpastoError(f"{folder / ROWS} has other pairs than {folders[0] / ROWS}: run both evaluations again.")
    return [Method(*each) for each in zip(names, folders, rows, strict=True)], protocol


def _telling(folders: Sequence[Path]) -> list[str]:
    """Return of every path the last parts, as many as tell the paths apart; equal paths stay equal.

    Examples:
        >>> _telling([Path("/runs/a/evaluation/neat"), Path("/runs/b/evaluation/neat")])
        ['a/evaluation/neat', 'b/evaluation/neat']
    """
    for count in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-count:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def make_study(methods: Sequence[Method], protocol: dict[str, Any], plan: Plan) -> Study:
    """Draw the trials of a study.

    Args:
        methods: What is compared.
        protocol: Name and hash.
        plan: How many of what.

    Raises:
        ImpastoError: If the protocol has not what a question asks about.
    """
    dice = random.Random(plan.seed) if plan.seed is not None else random.SystemRandom()
    study = Study(_name(dice), protocol, [method.name for method in methods])
    for question in plan.questions:
        if question == "deception":
            study.trials += _judged(methods, plan, dice)
        else:
            study.trials += _chosen(question, methods, plan, dice)
    dice.shuffle(study.trials)
    return study


def _chosen(question: str, methods: Sequence[Method], plan: Plan, dice: random.Random) -> list[Trial]:
    groups = [tuple(methods)] if plan.together else list(combinations(methods, 2))
    trials = []
    for group in groups:
        for pair in _drawn(list(methods[0].rows), plan.pairs, dice):
            first = group[0]
            options = [_option(method, pair, dice) for method in group]
            dice.shuffle(options)
            shown = {kind: first.file(pair, kind) for kind in ("content", "style")}
            trials.append(Trial(_name(dice), question, pair, options, **shown))
    return trials


def _judged(methods: Sequence[Method], plan: Plan, dice: random.Random) -> list[Trial]:
    """Draw pictures of every method, and style pictures, which people painted, no two alike."""
    first = methods[0]
    works: dict[Path, str] = {}
    for pair in first.rows:
        style = first.file(pair, "style")
        if style is not None:
            works.setdefault(style, pair)
    if not works:
        raise ImpastoError("The deception score compares with paintings, and the protocol has no style pictures.")
    options = [(pair, Option(_name(dice), HUMAN, work)) for work, pair in works.items()]
    trials = _drawn(options, plan.pictures, dice)
    for method in methods:
        trials += [(pair, _option(method, pair, dice)) for pair in _drawn(list(method.rows), plan.pictures, dice)]
    return [Trial(_name(dice), "deception", pair, [option]) for pair, option in trials]


def _option(method: Method, pair: str, dice: random.Random) -> Option:
    file = method.file(pair, "stylized")
    if file is None or not file.is_file():
        raise ImpastoError(f"The picture {file} of {method.folder} is not there: evaluate it again.")
    return Option(_name(dice), method.name, file)


def _drawn(items: list[Item], count: int, dice: random.Random) -> list[Item]:
    return dice.sample(items, min(count, len(items)))


def _name(dice: random.Random) -> str:
    return f"{dice.getrandbits(48):012x}"


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / ROWS
    try:
        return {row["id"]: row for row in csv_rows(path)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise ImpastoError(f"{path} cannot be read ({error}): run the evaluation again.") from error
