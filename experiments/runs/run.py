"""Where a run lives: `runs/<method>/<name>/`, its `latest` link, its loggers and the checkpoints it can resume from."""

import os
import secrets
import shutil
import sys
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from experiments.runs.launch import is_one_of_several, rank, was_requeued
from experiments.runs.table import RunTable
from lightning_modules.errors import ImpastoError
from lightning_modules.shipped import PREFIX

NAME_VARIABLE = "IMPASTO_RUN_NAME"
BEGINNING = 15
"""Seconds that W&B's server has to take a run; then it is recorded offline."""
END = 30
"""Seconds that it has to take what is left at a run's end; then that stays on disk."""
WandbMode = Literal["auto", "online", "offline", "disabled"]


@dataclass(frozen=True)
class RunOptions:
    """How a run is named and recorded.

    Args:
        run_name: Folder of the run; a fit without it is named after date, time and seed.
        runs_dir: Where all runs live.
        profile: Tag of the run; by default the name of the last method's YAML file on the command line.
        wandb: W&B mode; auto is WANDB_MODE where set, else online where WANDB_API_KEY is set, else offline.
        tensorboard: Also write TensorBoard events into the run's folder.
    """

    run_name: str | None = None
    runs_dir: Path = Path("runs")
    profile: str | None = None
    wandb: WandbMode = "auto"
    tensorboard: bool = False


@dataclass(frozen=True)
class Run:
    """One run's folder and the settings that its records need.

    Attributes:
        created: Whether this process made the folder.
        refusal: Why the run must not start, in one sentence; rank 0 knows, and `RunKeeper` tells the others.
    """

    method: str
    name: str
    options: RunOptions
    created: bool = field(default=False, compare=False)
    refusal: str = field(default="", compare=False)

    @property
    def folder(self) -> Path:
        """Return ``runs/<method>/<name>``."""
        return self.options.runs_dir / self.method / self.name

    def checkpoint(self, which: str) -> Path:
        """Return the path of the checkpoint ``last`` or ``best``.

        Raises:
            ImpastoError: If this run has none.
        """
        path = self.folder / "checkpoints" / f"{which}.ckpt"
        if not path.is_file():
            raise ImpastoError(f"There is no {path}: start a new run without --ckpt_path, or name one with --run_name.")
        return path

    @rank_zero_only
    def link_latest(self) -> None:
        """Point ``runs/<method>/latest`` at this run, in one step."""
        link = self.folder.parent / "latest"
        if link.exists() and not link.is_symlink():
            return
        temporary = link.with_name(f".latest.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self.name, target_is_directory=True)
        temporary.replace(link)

    def discard(self) -> None:
        """Remove the folder, if this process made it, and the method's where that was its first."""
        if self.created:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # it holds other runs
                self.folder.parent.rmdir()

    def loggers(self, job: str) -> list[Logger]:
        """Return the loggers of this run: the CSV record first, which also says where the run lives.

        Args:
            job: The subcommand, W&B's ``job_type``.

        Returns:
            None where the run is refused: the folder belongs to another.
        """
        if self.refusal:
            return []
        loggers: list[Logger] = [RunTable(self.options.runs_dir, name=self.method, version=self.name)]
        if self.options.wandb != "disabled":
            loggers.append(self._wandb(job))
        if self.options.tensorboard:
            loggers.append(TensorBoardLogger(self.folder, name="tensorboard", version=""))
        return loggers

    def _wandb(self, job: str) -> WandbLogger:
        settings: dict[str, Any] = {
            "project": "impasto",
            "group": self.method,
            "name": self.name,
            "job_type": job,
            "tags": [self.options.profile] if self.options.profile else [],
            "id": self._wandb_id(),
            "dir": str(self.folder),
            "resume": "allow",
        }
        experiment = connect(settings, wandb_mode(self.options.wandb)) if rank() == 0 else None
        return WandbLogger(
            name=self.name, save_dir=self.folder, project="impasto", version=settings["id"], experiment=experiment
        )

    def _wandb_id(self) -> str:
        path = self.folder / "wandb" / "id"
        if rank() != 0:
            return "of-rank-0"  # the other ranks log nothing
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(secrets.token_hex(4), encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()


def open_run(method: str, options: RunOptions, *, job: str, seed: Any, ckpt_path: str | None) -> tuple[Run, str | None]:
    """Decide which folder a command writes to, and create it.

    A fit from checkpoint ``last`` or ``best`` continues in the run that wrote it: the one named by ``run_name``, else
    ``latest``. Everything else gets a folder of its own: where the name is taken, ``-2``, ``-3`` ... is appended, so
    nothing is ever overwritten. Validation and test of a run write to ``<run>-validate`` and ``<run>-test``.

    Of several ranks that torchrun or SLURM started, rank 0 decides. There a taken name is refused, not numbered: who
    gives these launches a name comes back to it, and then means to continue. A job that SLURM has requeued is back in
    its own folder.

    Args:
        method: Name of the method.
        options: Names and places.
        job: The subcommand.
        seed: Part of the default name.
        ckpt_path: Path of a checkpoint, ``last``, ``best`` or None.

    Returns:
        The run, and the checkpoint's path.

    Raises:
        ImpastoError: If the run or the checkpoint to continue from does not exist, the checkpoint is not whole, or the
            name is no folder's name.
    """
    name = options.run_name
    if name and (Path(name).name != name or name == ".."):
        raise ImpastoError(f"--run_name {name} would leave {options.runs_dir / method}: take a name without slashes.")
    if ckpt_path in ("last", "best"):
        source = Run(method, name or _latest(options.runs_dir / method), options)
        ckpt_path = str(source.checkpoint(ckpt_path))
        _check_whole(Path(ckpt_path))
        if job == "fit":
            return source, ckpt_path
        name = f"{source.name}-{job}"
    elif ckpt_path is not None and ckpt_path.startswith(PREFIX):
        raise ImpastoError(f"{ckpt_path} paints and does not train: give it to `impasto stylize --checkpoint`.")
    elif ckpt_path is not None and "://" not in ckpt_path:
        if not Path(ckpt_path).is_file():
            raise ImpastoError(f"There is no checkpoint at {ckpt_path}.")
        _check_whole(Path(ckpt_path))
    if "LOCAL_RANK" in os.environ and NAME_VARIABLE in os.environ:
        return Run(method, os.environ[NAME_VARIABLE], options), ckpt_path
    run = _claim(Run(method, name or _default_name(seed), options), job)
    os.environ[NAME_VARIABLE] = run.name  # the other ranks that Lightning starts must write to the same folder
    return run, ckpt_path


def wandb_mode(mode: WandbMode) -> str:
    """Resolve ``auto``: WANDB_MODE, else online with a key, else offline."""
    if mode != "auto":
        return mode
    return os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")


def connect(settings: dict[str, Any], mode: str) -> Any:
    """Start a W&B run without ever asking or failing: where the server cannot be reached, the run is kept offline."""
    import wandb

    quiet = wandb.Settings(init_timeout=BEGINNING, finish_timeout=END, silent=True, console="off")
    try:
        run = wandb.init(**settings, mode=mode, settings=quiet)  # type: ignore[arg-type]
    except (wandb.errors.Error, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        print(f"W&B cannot be reached ({reason}); the run is recorded offline in {settings['dir']}/wandb.")
        wandb.teardown()  # its service still holds the id of the run that failed
        run = wandb.init(**settings, mode="offline", settings=quiet)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def disconnect(*, failed: bool = False) -> None:
    """End W&B's run, if there is one, without its own words about it, and without waiting for a server that is gone."""
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return
    folder, online = Path(wandb.run.dir).parent, not wandb.run.offline
    start = time.monotonic()
    wandb.finish(exit_code=int(failed))
    if online and time.monotonic() - start >= END:
        print(
            f"W&B has not taken all of the run within {END} s: `wandb sync {folder}` sends it once it can be reached."
        )


def _latest(folder: Path) -> str:
    link = folder / "latest"
    if not link.exists():
        raise ImpastoError(f"There is no run to continue in {folder}: start one without --ckpt_path.")
    return link.resolve().name


def _default_name(seed: Any) -> str:
    job = os.environ.get("SLURM_JOB_ID")
    if job:
        return f"slurm-{job}"
    if is_one_of_several():
        raise ImpastoError("Processes that were started one by one cannot agree on a run's name: add --run_name NAME.")
    return f"{time.strftime('%Y-%m-%d_%H%M%S')}-seed{seed}"


def _check_whole(path: Path) -> None:
    """Refuse what a full disk or a killed copy left: a checkpoint is a ZIP, whose directory stands at its end."""
    if not zipfile.is_zipfile(path):
        raise ImpastoError(
            f"{path} is cut off or damaged: take another checkpoint, as in --ckpt_path best, or start a new run "
            "without --ckpt_path."
        )


def _claim(wanted: Run, job: str) -> Run:
    if rank() != 0:
        return wanted  # rank 0 makes the folder, and every path goes out from it
    if was_requeued():
        wanted.folder.mkdir(parents=True, exist_ok=True)
        return wanted
    number, run = 1, wanted
    while True:
        try:
            run.folder.mkdir(parents=True)
        except FileExistsError:
            if job == "fit" and is_one_of_several():
                return replace(wanted, refusal=_taken(wanted))
            number += 1
            run = replace(wanted, name=f"{wanted.name}-{number}")
        else:
            if number > 1 and wanted.name == wanted.options.run_name:
                print(f"{'name':<11}{wanted.name} is taken: this run is {run.name}")
            return replace(run, created=True)


def _taken(run: Run) -> str:
    return f"The run {run.folder} is there already: continue it with --ckpt_path last, or take another --run_name."
