"""The runs of a contestant: told by what they were made with, not by their names, so that any finished one is taken."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import yaml

from experiments.leaderboard.contestants import Contestant
from experiments.report.entries import NAMES
from experiments.report.records import flatten
from lightning_modules.errors import ImpastoError

ELSEWHERE = re.compile(
    r"trainer\.(accelerator|devices|logger|enable_progress_bar|enable_model_summary|default_root_dir)$"
    r"|data(\..+)?\.(root|workers|cache_in_memory)$|weights_only$|start_from$"
)
"""Settings that say where and on what a run was made. What it starts from is asked for apart: it must be nothing."""

ONE_PARSES = Lock()
"""Parsers look at each other's state; contestants that are made side by side ask one after the other."""


@dataclass(frozen=True)
class Made:
    """A run that is there.

    Attributes:
        folder: Its folder.
        summary: What it says of itself; None where it was cut off.
    """

    folder: Path
    summary: dict[str, Any] | None

    @property
    def finished(self) -> bool:
        """Tell whether it came to its end."""
        return self.summary is not None

    @property
    def can_continue(self) -> bool:
        """Tell whether there is a checkpoint to go on from."""
        return (self.folder / "checkpoints" / "last.ckpt").is_file()


def find_run(contestant: Contestant, seed: int, runs: Path) -> Made | None:
    """Return the run of a contestant and a seed: a finished one, else one of the board's own that can go on.

    A run of any name counts whose recorded settings are those of the contestant's YAML files. One that was cut off is
    taken up only if the board itself had begun it: another may belong to a process that is still at work.

    Args:
        contestant: Has a run.
        seed: Of the run.
        runs: Where all runs live.

    Raises:
        CommandLineError: If a YAML file does not fit.
    """
    wanted = identity(_asked(tuple(contestant.fit)))
    own = contestant.name_of_run(seed)
    found: list[Made] = []
    for config in sorted((runs / contestant.method).glob("*/config.yaml")):
        settings = _read(config, yaml.safe_load, yaml.YAMLError)
        if config.parent.is_symlink() or settings is None or settings.get("seed_everything") != seed:
            continue
        if settings.get("start_from") is None and identity(settings) == wanted:
            found.append(Made(config.parent, _summary(config.parent, settings)))
    finished = [made for made in found if made.finished]
    ours = [made for made in found if re.fullmatch(rf"{re.escape(own)}(-\d+)?", made.folder.name)]
    return next(iter([*finished, *(made for made in ours if made.can_continue)]), None)


def identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two runs have alike that are one but for their seed, their name and the machine.

    Examples:
        >>> identity({"seed_everything": 3, "trainer": {"max_steps": 5, "accelerator": "cpu"}})
        {'trainer.max_steps': 5}
    """
    flat = flatten(settings).items()
    return {key: value for key, value in flat if key.split(".")[0] not in NAMES and not ELSEWHERE.match(key)}


def fingerprint(contestant: Contestant) -> str:
    """Return the hash of what its YAML files and options say now, whatever the seed and the machine.

    An option that a class gains, with a default under which all stays as it was, is in no file and changes nothing.

    Args:
        contestant: Has YAML files.

    Raises:
        ImpastoError: If one cannot be read.
    """
    said: dict[str, Any] = {}
    for config in contestant.configs:
        settings = _read(Path(config), yaml.safe_load, yaml.YAMLError)
        if settings is None:
            raise ImpastoError(f"{config} of the leaderboard's {contestant.key} is missing, or holds no settings.")
        said |= identity(settings)
    text = json.dumps([said, contestant.options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _asked(command: tuple[str, ...]) -> dict[str, Any]:
    from experiments.training import settings_of  # LightningCLI: what is measured already does without

    with ONE_PARSES:
        return settings_of(command)


def _summary(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the summary of a run that has made all its iterations."""
    summary = _read(folder / "summary.json", json.loads, ValueError)
    wanted = settings.get("trainer", {}).get("max_steps", -1)
    if summary is None or (summary.get("iterations", 0) < wanted and settings["trainer"].get("max_epochs") == -1):
        return None
    return summary


def _read(path: Path, parse: Any, damage: type[Exception]) -> dict[str, Any] | None:
    """Return what a file says; None where it is missing or damaged: then it is no run to build on."""
    try:
        said = parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, damage):
        return None
    return said if isinstance(said, dict) else None
