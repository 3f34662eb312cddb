"""What the command line names, found and read: one damaged run does not keep the others from being compared."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from experiments.report.pictures import read_grid
from experiments.report.records import EVALUATION, Evaluation, RunRecord, is_run, read_evaluation, read_run
from experiments.report.wandb_runs import ONLINE, find_log, read_offline, read_online
from lightning_modules.errors import ImpastoError

DEPTH = 2  # runs/<method>/<name>


@dataclass
class Gathered:
    """What could be read, and a sentence about each that could not."""

    runs: list[RunRecord] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def gather(places: Sequence[str], downloads: Path, api: Any = None) -> Gathered:
    """Read runs and evaluations.

    Args:
        places: Folders of runs, of evaluations, or of W&B's offline runs; folders of such folders; runs on W&B's server
            as ``wandb:entity/project/run``. What is there twice counts once.
        downloads: Where pictures from a server are put.
        api: What stands for ``wandb.Api()``.

    Returns:
        What could be read; what not is in ``damaged``.
    """
    gathered = Gathered()
    seen: set[str] = set()
    for place in places:
        if place.startswith(ONLINE):
            _try(gathered, partial(_read_server, place.removeprefix(ONLINE), gathered, downloads, api))
            continue
        _try(gathered, partial(_read_all, Path(place), gathered, seen))
    told = {evaluation.place for run in gathered.runs for evaluation in run.evaluations}
    gathered.evaluations = [evaluation for evaluation in gathered.evaluations if evaluation.place not in told]
    return gathered


def _read_all(place: Path, gathered: Gathered, seen: set[str]) -> None:
    for folder in _folders(place):
        if str(folder.resolve()) not in seen:
            seen.add(str(folder.resolve()))
            _try(gathered, partial(_read, folder, gathered))


def _try(gathered: Gathered, read: Callable[[], None]) -> None:
    try:
        read()
    except ImpastoError as error:
        gathered.damaged.append(str(error))
    except OSError as error:
        gathered.damaged.append(f"{error.filename} cannot be read ({error.strerror}).")


def _folders(place: Path) -> Iterator[Path]:
    """Yield what a place names: itself, or where it is a folder of runs, each of them."""
    if _is_any(place) or not place.is_dir():
        yield place
        return
    inside = sorted(_below(place, DEPTH))
    yield from inside or [place]


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for child in folder.iterdir():
        if child.is_symlink() or not child.is_dir() or child.name.startswith("."):
            continue  # `latest` is one of the others
        if _is_any(child) or (child / "config.yaml").is_file():
            yield child
        elif depth > 1:
            yield from _below(child, depth - 1)


def _is_any(folder: Path) -> bool:
    try:
        return (
            is_run(folder)
            or (folder / EVALUATION).is_file()
            or find_log(folder) is not None
            or folder.suffix == ".wandb"
        )
    except PermissionError:
        return True  # reading it says so, and the next one is looked at


def _read_server(address: str, gathered: Gathered, downloads: Path, api: Any) -> None:
    gathered.runs += [_checked(run) for run in read_online(address, downloads, api)]


def _read(folder: Path, gathered: Gathered) -> None:
    log = folder if folder.suffix == ".wandb" and folder.is_file() else find_log(folder)
    if not is_run(folder) and (folder / EVALUATION).is_file():
        gathered.evaluations.append(read_evaluation(folder.resolve() / EVALUATION))
    elif log is not None and not is_run(folder):
        gathered.runs.append(_checked(read_offline(log.resolve())))
    else:
        gathered.runs.append(_checked(read_run(folder)))


def _checked(run: RunRecord) -> RunRecord:
    """Return a run whose pictures can be read: later it would be too late to leave it out."""
    if run.grid is not None:
        read_grid(run.grid)
    return run
