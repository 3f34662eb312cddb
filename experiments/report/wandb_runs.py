"""Runs as W&B has them: the one module that knows its formats, of folders on disk and of its server alike.

Offline folders are read by ``wandb leet inspect --json``, W&B's own reader, for the log's format is private.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.report.records import Curves, RunRecord, checked_summary, flatten, summary_of_unfinished
from lightning_modules.errors import ImpastoError

ONLINE = "wandb:"
"""What the address of a run on a server begins with: ``wandb:entity/project/run``, or without the last all runs."""
STEP = "trainer/global_step"
RESULT = "result"
"""Where `callbacks.run_summary.RunSummary` leaves what it knows beside the metrics, in the run's configuration."""
SHOWN = "samples"
"""The key of `callbacks.stylization_grid.StylizationGrid`."""
PATIENCE = 60  # seconds


def find_log(folder: Path) -> Path | None:
    """Return the log of a W&B folder such as ``wandb/offline-run-...``, or None where it is none."""
    return next(iter(sorted(folder.glob("run-*.wandb"))), None)


def read_offline(log: Path) -> RunRecord:
    """Read the log of one run.

    Args:
        log: A file ``run-*.wandb``.

    Raises:
        ImpastoError: If it cannot be read, or holds no run of this repo.
    """
    about: dict[str, Any] = {}
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    for line in _lines(log):
        said = line.get(str(line.get("type")), {})
        match line.get("type"):
            case "run":
                about |= said
                _merge(config, said.get("config", {}).get("update", {}))
            case "config":
                _merge(config, said.get("update", {}))
            case "summary":
                summary |= said.get("update", {})
            case "history":
                history.append(said.get("item", {}))
            case "exit":
                about["state"] = "finished"
    if not about:
        raise ImpastoError(f"{log} holds no run, or is damaged: move it away.")
    run = _record(about, config, summary, history, str(log.parent))
    shown = summary.get(f"{SHOWN}.filenames") or []
    grid = log.parent / "files" / str(shown[-1] if shown else "")
    run.grid = grid if grid.is_file() else None
    return run


def read_online(address: str, folder: Path, api: Any = None) -> list[RunRecord]:
    """Read one run, or all of a project, from W&B's server.

    Args:
        address: ``entity/project/run`` or ``entity/project``.
        folder: Where pictures are put.
        api: What stands for ``wandb.Api()``.

    Raises:
        ImpastoError: If there is no such run, no key, or no answer.
    """
    parts = address.split("/")
    if len(parts) not in {2, 3} or not all(parts):
        raise ImpastoError(f"{ONLINE}{address} is no run: write {ONLINE}entity/project/run.")
    try:
        server = api or _api()
        runs = [server.run(address)] if len(parts) == 3 else list(server.runs(address))
        return [_downloaded(run, address, folder) for run in runs]
    except ImpastoError:
        raise
    except Exception as error:  # W&B lets out many kinds, its own and those of requests
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ImpastoError(f"{ONLINE}{address} cannot be read from W&B ({reason.rstrip('.')}).") from error


def _api() -> Any:
    import wandb

    return wandb.Api(timeout=PATIENCE)


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ImpastoError(f"{log} cannot be read: W&B's reader does not answer.") from error
    try:
        yield from map(json.loads, done.stdout.splitlines())
    except ValueError as error:
        raise ImpastoError(f"{log} is damaged: W&B's reader says nothing that can be read of it.") from error
    if done.returncode and not done.stdout:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ImpastoError(f"{log} cannot be read ({reason}): move it away.")


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _record(
    about: Mapping[str, Any],
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    history: Iterable[Mapping[str, Any]],
    place: str,
) -> RunRecord:
    settings = flatten({key: value for key, value in config.items() if key not in {RESULT, "command", "_wandb"}})
    curves = _curves(history)
    method = str(about.get("run_group") or "")
    if not method:
        raise ImpastoError(f"{place} is no run of this repo: it has no group, which names the method.")
    name = str(about.get("display_name") or about.get("run_id"))
    metrics = {key: value for key, value in summary.items() if key.startswith(("val/", "test/")) and _is_number(value)}
    known = {"method": method, "command": config.get("command"), "seconds": summary.get("_runtime")}
    said = {**summary_of_unfinished(method, settings, curves), **known, **dict(config.get(RESULT, {}))}
    finished = about.get("state") == "finished" and RESULT in config
    said["metrics"] = metrics or said["metrics"]
    return RunRecord(name, place, checked_summary(said), settings, curves, finished=finished)


def _curves(history: Iterable[Mapping[str, Any]]) -> Curves:
    """Return the logged numbers over the iterations; a row without one belongs to the row before."""
    found: dict[str, dict[int, float]] = {}
    step = 0
    for row in history:
        step = int(row.get(STEP) if _is_number(row.get(STEP)) else step)  # type: ignore[arg-type]
        for key, value in row.items():
            if _is_number(value) and key not in {STEP, "epoch"} and not key.startswith(("_", f"{SHOWN}.")):
                found.setdefault(key, {})[step] = float(value)
    return {key: sorted(points.items()) for key, points in found.items()}


def _downloaded(run: Any, address: str, folder: Path) -> RunRecord:
    about = {"run_group": run.group, "display_name": run.name, "state": run.state}
    summary = dict(run.summary)
    place = f"{ONLINE}{'/'.join(address.split('/')[:2])}/{run.id}"
    record = _record(about, dict(run.config), summary, run.scan_history(), place)
    shown = dict(summary.get(SHOWN) or {}).get("filenames") or []
    if shown:
        run.file(shown[-1]).download(root=str(folder / str(run.id)), replace=True)
        record.grid = folder / str(run.id) / str(shown[-1])
    return record


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
