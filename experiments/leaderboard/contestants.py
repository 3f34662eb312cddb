"""Who stands on the leaderboard, and how they are measured: `entries.yaml`, read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lightning_modules.errors import ImpastoError
from lightning_modules.paths import slug

ENTRIES = Path(__file__).with_name("entries.yaml")
KINDS = ("paper", "ablation", "baseline", "reference")
T = TypeVar("T")


@dataclass(frozen=True)
class Section:
    """Contestants that saw the same pictures, and therefore stand in one table.

    Args:
        title: What the table is of.
        note: What a reader must know of it.
        protocol: Of `impasto evaluate`; None takes what every run measured at its own last validation.
        limit: As of `impasto evaluate`.
        shown: Metrics of the table in words; the page has all.
        panel: Whether the independent panel names the painters, where its package is installed.
    """

    title: str
    note: str = ""
    protocol: str | None = None
    limit: int | None = None
    shown: tuple[str, ...] = ()
    panel: bool = False


@dataclass(frozen=True)
class Contestant:
    """One row.

    Args:
        key: Short name; files are named after it.
        name: What tables call it.
        method: Its package, under which its runs lie.
        section: The table that it stands in.
        kind: ``paper``; ``ablation``: a paper's method without a part; ``baseline``; ``reference``: no contestant.
        configs: YAML files, as `impasto fit` takes them.
        options: What the training is told beside them.
        checkpoint: What is measured as it is, in place of a training.
        trains: Whether there is a run to make; what fits every picture by itself has none.
        condition: As of `impasto evaluate`.
        seeds: In place of those of the whole board.
    """

    key: str
    name: str
    method: str
    section: str
    kind: str = "paper"
    configs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    checkpoint: str | None = None
    trains: bool = True
    condition: str | None = None
    seeds: tuple[int, ...] = ()

    @property
    def has_run(self) -> bool:
        """Tell whether there is a run to be made."""
        return self.trains and self.checkpoint is None

    def name_of_run(self, seed: int) -> str:
        """Return the name of the run that is made where none is there.

        Contestants that differ in their evaluation alone share it.
        """
        stems = [Path(config).stem for config in self.configs]
        name = self.key if self.options else "-".join(stems[1:] or stems)
        return f"leaderboard-{name}-{seed}"

    @property
    def fit(self) -> list[str]:
        """Return the command that trains it, but for its seed."""
        return ["fit", *(word for config in self.configs for word in ("--config", config)), *self.options]


@dataclass(frozen=True)
class Roster:
    """All of it: tables by key, rows in order, and what the papers claim, for `experiments.leaderboard.claims`."""

    sections: dict[str, Section]
    contestants: list[Contestant]
    claims: tuple[Mapping[str, Any], ...] = ()

    def units(self, only: Sequence[str], seeds: Sequence[int]) -> list[tuple[Contestant, int]]:
        """Return contestants with their seeds, the first seed of all before the second of any.

        Args:
            only: Keys; empty takes all.
            seeds: Of those that a contestant has; empty takes all.

        Raises:
            ImpastoError: If nobody has such a name, or nobody of them such a seed.
        """
        for word in only:
            if not any(word == each.key for each in self.contestants):
                known = ", ".join(each.key for each in self.contestants)
                raise ImpastoError(f"Nobody on the leaderboard is called {word}: choose of {known}.")
        chosen = [each for each in self.contestants if not only or each.key in only]
        units = [(each, seed) for each in chosen for seed in each.seeds if not seeds or seed in seeds]
        there = sorted({seed for each in chosen for seed in each.seeds})
        for seed in seeds:
            if seed not in there:
                raise ImpastoError(f"Nobody of these has the seed {seed}: choose of {', '.join(map(str, there))}.")
        return sorted(units, key=lambda unit: unit[0].seeds.index(unit[1]))


def read_roster(path: Path = ENTRIES) -> Roster:
    """Read the file.

    Raises:
        ImpastoError: If it does not hold what it should.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        seeds = tuple(map(int, said["seeds"]))
        sections = {str(key): _made(Section, value) for key, value in said["sections"].items()}
        contestants = [
            _made(Contestant, {"key": str(key), "seeds": seeds, **value}) for key, value in said["entries"].items()
        ]
        roster = Roster(sections, contestants, tuple(said.get("claims") or ()))
        for contestant in contestants:
            _check(contestant, roster)
    except OSError as error:
        raise ImpastoError(f"There is no list of entries at {path} ({error.strerror}).") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImpastoError(f"{path} is not what a leaderboard's list should be ({error}).") from error
    return roster


def _made(kind: type[T], said: Mapping[str, Any]) -> T:
    """Build a record of what YAML says of it; lists become tuples."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]  # both are dataclasses
    strangers = sorted(set(said) - known)
    if strangers:
        raise ValueError(f"{strangers[0]} is none of {', '.join(sorted(known))}")
    needed = {each.name for each in fields(kind) if each.default is MISSING}  # type: ignore[arg-type]
    if needed - set(said):
        raise ValueError(f"{said.get('key', 'a section')} has no {min(needed - set(said))}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in said.items()})


def _check(contestant: Contestant, roster: Roster) -> None:
    key = contestant.key
    if slug(key) != key:
        raise ValueError(f"files cannot be called {key}")
    if contestant.section not in roster.sections:
        raise ValueError(f"{key} is in no section that there is")
    if contestant.kind not in KINDS:
        raise ValueError(f"{key} is of kind {contestant.kind}, none of {', '.join(KINDS)}")
    if bool(contestant.configs) == (contestant.checkpoint is not None):
        raise ValueError(f"{key} needs configs or a checkpoint, one of them")
    if roster.sections[contestant.section].protocol is None and not contestant.has_run:
        raise ValueError(f"{key} has no run, and its section no protocol")
    if contestant.options and not contestant.has_run:
        raise ValueError(f"{key} has options, and no training to give them to")
    if not contestant.seeds:
        raise ValueError(f"{key} has no seeds")
