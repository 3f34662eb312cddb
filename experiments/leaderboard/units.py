"""One contestant with one seed: trained, measured, and written down, each step only where it is missing."""

import shlex
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from experiments.evaluation.protocol import Protocol
from experiments.evaluation.provenance import checkpoint_identity
from experiments.evaluation.result import PANEL, TABLE, read_result
from experiments.leaderboard.contestants import Contestant, Section
from experiments.leaderboard.naming import read_panel, whose
from experiments.leaderboard.records import (
    Record,
    metrics_of_run,
    path_of,
    read_pairs,
    read_record,
    read_samples,
    write_record,
)
from experiments.leaderboard.runs import Made, find_run, fingerprint
from experiments.leaderboard.thumbnails import FOLDER, write_thumbnails
from experiments.leaderboard.workshop import Workshop
from lightning_modules.errors import ImpastoError
from lightning_modules.weights import dinov2_installed

SAID = ("sha256", "name", "n", "estimator")
"""What a record keeps of its protocol."""
PLACES = ("--checkpoint", "--protocol", "--content", "--style", "--out", "--device", "--limit", "--config", "--profile")
"""Options of an evaluation that say where, and not what."""


@dataclass(frozen=True)
class Place:
    """Where everything lies, and on what it is made.

    Attributes:
        runs: All runs.
        out: The records.
        data: ProceduralArt.
        device: As of `impasto evaluate`.
    """

    runs: Path
    out: Path
    data: Path
    device: str = "auto"


@dataclass(frozen=True)
class Frozen:
    """A section's protocol, and the file that it is frozen in."""

    protocol: Protocol
    file: Path


@dataclass
class Unit:
    """One contestant with one seed.

    Attributes:
        contestant: Who.
        seed: Of the training.
        section: Where it stands.
        place: Where everything lies.
    """

    contestant: Contestant
    seed: int
    section: Section
    place: Place

    @property
    def name(self) -> str:
        """Return what lines and files call it."""
        return f"{self.contestant.key}-{self.seed}"

    @property
    def record(self) -> Path:
        """Return the file of its record."""
        return path_of(self.place.out, self.contestant, self.seed)

    def state(self) -> str:
        """Say what is left to do, without doing it."""
        try:
            if self.is_measured():
                return "measured"
            made = self._run()
        except ImpastoError as error:
            return f"cannot be made: {error}"
        if made is not None and not made.finished:
            return f"to be continued in {made.folder}"
        if made is None and self.contestant.has_run:
            return "to be trained"
        return "to be measured" if made is None else f"to be measured, trained in {made.folder}"

    def is_measured(self) -> bool:
        """Tell whether there is a record, of what its YAML files or its checkpoint are now.

        Raises:
            ImpastoError: If the record is damaged, or a YAML file missing.
        """
        return self.record.is_file() and not self.is_outdated()

    def is_outdated(self) -> bool:
        """Tell whether there is a record whose settings have changed since it was made.

        Raises:
            ImpastoError: If the record is damaged, or a YAML file missing.
        """
        return self.record.is_file() and read_record(self.record).about.get("settings") != self._settings()

    def make(self, frozen: Frozen | None, workshop: Workshop) -> Record:
        """Train, measure and write down what is missing.

        Args:
            frozen: The section's protocol; None where its runs measure themselves.
            workshop: Runs the commands.

        Raises:
            ImpastoError: If a command fails.
        """
        owner = self.contestant.name_of_run(self.seed) if self.contestant.has_run else self.name
        lock = self.place.runs / "leaderboard" / f".{self.contestant.method}-{owner}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):  # two contestants may share a run, and two boards a folder
            made = self._trained(workshop) if self.contestant.has_run else None
            record = self._measured(made, frozen, workshop)
        write_record(record, self.record)
        return record

    def _run(self) -> Made | None:
        return find_run(self.contestant, self.seed, self.place.runs) if self.contestant.has_run else None

    def _trained(self, workshop: Workshop) -> Made:
        made = self._run()
        if made is None or not made.finished:
            words = [*self._fit(), "--runs_dir", str(self.place.runs), "--wandb", "disabled"]
            if self.place.device != "auto":
                words += ["--trainer.accelerator", {"cuda": "gpu"}.get(self.place.device, self.place.device)]
            name = self.contestant.name_of_run(self.seed) if made is None else made.folder.name
            words += ["--run_name", name, *(["--ckpt_path", "last"] if made else [])]
            workshop.run(words, self._log())
            made = self._run()
        if made is None or not made.finished:
            raise ImpastoError(f"The training ended, and no run in {self.place.runs} is finished: read {self._log()}.")
        return made

    def _measured(self, made: Made | None, frozen: Frozen | None, workshop: Workshop) -> Record:
        if frozen is None:
            return self._of_run(made)
        folder = self._evaluation(made, frozen)
        if folder is None:
            folder = self._new_folder(made, frozen)
            words = ["evaluate", *self._painter(made), "--protocol", str(frozen.file), "--out", str(folder)]
            workshop.run([*words, *self._how(), "--device", self.place.device], self._log())
        result = read_result(folder)
        metrics, pairs = dict(result["metrics"]), read_pairs(folder, result["metrics"])
        if self.section.panel and dinov2_installed():
            self._ask_panel(folder, workshop)
            named = read_panel(folder)
            metrics |= named.metrics
            pairs |= named.pairs
        if self.seed == self.contestant.seeds[0]:
            write_thumbnails(folder, self.place.out / FOLDER, self.contestant.key)
        about = self._about(made) | {"evaluation": self._about_evaluation(result)}
        return Record(self.contestant.key, self.seed, about, metrics, pairs)

    def _of_run(self, made: Made | None) -> Record:
        """Return what a run has measured by itself."""
        metrics = metrics_of_run((made and made.summary) or {})
        pairs = {} if made is None else read_samples(made.folder, metrics)
        return Record(self.contestant.key, self.seed, self._about(made) | {"evaluation": None}, metrics, pairs)

    def _ask_panel(self, folder: Path, workshop: Workshop) -> None:
        """Let the independent panel name the painters of an evaluation's pictures, if it has not yet."""
        table, values = (folder / name for name in PANEL)
        if table.is_file() and values.is_file():
            return
        words = ["score", "--metrics", "panel_named", "--stylized", str(folder), "--pairs", str(whose(folder))]
        paintings = self.place.data / "train" / "paintings"
        words += ["--paintings", str(paintings), "--out", str(table), "--per-image", str(values)]
        workshop.run([*words, "--device", self.place.device], self._log())

    def _evaluation(self, made: Made | None, frozen: Frozen | None) -> Path | None:
        """Return the folder of an evaluation that says what is asked for; of a run, whatever it is called."""
        if frozen is None:
            return None
        folders = self._new_folder(made, frozen).parent.glob(f"*/{TABLE}")
        return next((path.parent for path in sorted(folders) if self._is_asked_for(path, made, frozen)), None)

    def _is_asked_for(self, path: Path, made: Made | None, frozen: Frozen) -> bool:
        try:
            result = read_result(path.parent)
            words = shlex.split(result["command"])[2:]
            same = result["checkpoint"]["sha256"] == self._painted_by(made)
            return same and result["protocol"]["sha256"] == frozen.protocol.sha256() and _how(words) == self._how()
        except (ImpastoError, KeyError, ValueError):
            return False

    def _new_folder(self, made: Made | None, frozen: Frozen) -> Path:
        """Return where an evaluation goes: protocols, and what a method is given, have folders of their own.

        So has every state of what paints without a run; a run's checkpoint lies in the run's folder already.
        """
        root = made.folder / "evaluation" if made else self.place.runs / "leaderboard" / self.contestant.key
        painter = None if made else self._painted_by(None)[:8]
        parts = ["leaderboard", frozen.protocol.sha256()[:8], self.contestant.condition, painter]
        return root / "-".join(part for part in parts if part)

    def _checkpoint(self, made: Made | None) -> Path | None:
        if made is not None:
            return made.folder
        return None if self.contestant.checkpoint is None else Path(self.contestant.checkpoint)

    def _painted_by(self, made: Made | None) -> str:
        """Return the hash of what paints, as an evaluation notes it."""
        configs = [Path(config) for config in self.contestant.configs]
        asked = Namespace(checkpoint=self._checkpoint(made), method=None, config=configs)
        return checkpoint_identity(asked)["sha256"]

    def _painter(self, made: Made | None) -> list[str]:
        checkpoint = self._checkpoint(made)
        configs = [word for config in self.contestant.configs for word in ("--config", config)]
        return configs if checkpoint is None else ["--checkpoint", str(checkpoint)]

    def _fit(self) -> list[str]:
        return [*self.contestant.fit, "--seed_everything", str(self.seed)]

    def _settings(self) -> str:
        """Return the hash of what is measured, but for the seed: of the YAML files' settings, or of a checkpoint."""
        return self._painted_by(None) if self.contestant.checkpoint else fingerprint(self.contestant)

    def _how(self) -> list[str]:
        return [] if self.contestant.condition is None else ["--condition", self.contestant.condition]

    def _log(self) -> Path:
        return self.place.runs / "leaderboard" / f"{self.name}.log"

    def _about(self, made: Made | None) -> dict[str, Any]:
        who = self.contestant
        about = {"name": who.name, "method": who.method, "kind": who.kind, "configs": list(who.configs)}
        about |= {"settings": self._settings()}
        if made is None or made.summary is None:
            return about | {"checkpoint": who.checkpoint, "training": None}
        kept = {key: made.summary.get(key) for key in ("iterations", "seconds", "device", "commit")}
        return about | {"training": kept | {"command": shlex.join(["impasto", *self._fit()])}}

    def _about_evaluation(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what a record keeps of an evaluation; paths of this machine are nobody else's business."""
        where = Path("runs") / self.contestant.method / "latest" if self.contestant.has_run else None
        painter = self._painter(None) if where is None else ["--checkpoint", str(where)]
        words = ["impasto", "evaluate", *painter, "--protocol", str(self.section.protocol), *self._how()]
        kept = {key: result[key] for key in ("device", "threads", "seconds", "commit")}
        protocol = {key: result["protocol"][key] for key in SAID}
        when = result.get("finished", datetime.now(UTC).isoformat(timespec="seconds"))
        return {"protocol": protocol, **kept, "finished": when, "command": shlex.join(words)}


def _how(words: Sequence[str]) -> list[str]:
    """Return the options of an evaluation that change its numbers, in their order."""
    pairs = zip(words[::2], words[1::2], strict=True)  # every option that is written down has a value
    return [word for option, value in pairs if option not in PLACES for word in (option, value)]
