"""Where a run lives: `runs/<method>/<name>/`, its `latest` link, its loggers and the checkpoints it can resume from."""

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from experiments.runs.table import RunTable
from lightning_modules.errors import ImpastoError

NAME_VARIABLE = "IMPASTO_RUN_NAME"
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
    """One run's folder and the settings that its records need."""

    method: str
    name: str
    options: RunOptions

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

    def loggers(self, job: str) -> list[Logger]:
        """Return the loggers of this run: the CSV record first, which also says where the run lives.

        Args:
            job: The subcommand, W&B's ``job_type``.
        """
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
        experiment = connect(settings, wandb_mode(self.options.wandb)) if _is_rank_zero() else None
        return WandbLogger(
            name=self.name, save_dir=self.folder, project="impasto", version=settings["id"], experiment=experiment
        )

    def _wandb_id(self) -> str:
        path = self.folder / "wandb" / "id"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(secrets.token_hex(4), encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()


def open_run(method: str, options: RunOptions, *, job: str, seed: Any, ckpt_path: str | None) -> tuple[Run, str | None]:
    """Decide which folder a command writes to, and create it.

    A fit from checkpoint ``last`` or ``best`` continues in the run that wrote it: the one named by ``run_name``, else
    ``latest``. Everything else gets a folder of its own: where the name is taken, ``-2``, ``-3`` ... is appended, so
    nothing is ever overwritten. Validation and test of a run write to ``<run>-validate`` and ``<run>-test``.

    Args:
        method: Name of the method.
        options: Names and places.
        job: The subcommand.
        seed: Part of the default name.
        ckpt_path: Path of a checkpoint, ``last``, ``best`` or None.

    Returns:
        The run, and the checkpoint's path.

    Raises:
        ImpastoError: If the run or the checkpoint to continue from does not exist, or the name is no folder's name.
    """
    name = options.run_name
    if name and (Path(name).name != name or name == ".."):
        raise ImpastoError(f"--run_name {name} would leave {options.runs_dir / method}: take a name without slashes.")
    if ckpt_path in ("last", "best"):
        source = Run(method, name or _latest(options.runs_dir / method), options)
        ckpt_path = str(source.checkpoint(ckpt_path))
        if job == "fit":
            return source, ckpt_path
        name = f"{source.name}-{job}"
    elif ckpt_path is not None and "://" not in ckpt_path and not Path(ckpt_path).is_file():
        raise ImpastoError(f"There is no checkpoint at {ckpt_path}.")
    if "LOCAL_RANK" in os.environ and NAME_VARIABLE in os.environ:
        return Run(method, os.environ[NAME_VARIABLE], options), ckpt_path
    run = _claim(method, name or _default_name(seed), options)
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

    quiet = wandb.Settings(init_timeout=30, silent=True, console="off")
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


def _is_rank_zero() -> bool:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0")))) == 0


def _latest(folder: Path) -> str:
    link = folder / "latest"
    if not link.exists():
        raise ImpastoError(f"There is no run to continue in {folder}: start one without --ckpt_path.")
    return link.resolve().name


def _default_name(seed: Any) -> str:
    job = os.environ.get("SLURM_JOB_ID")
    if job:
        return f"slurm-{job}"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ImpastoError("Processes that were started one by one cannot agree on a run's name: add --run_name NAME.")
    return f"{time.strftime('%Y-%m-%d_%H%M%S')}-seed{seed}"


def _claim(method: str, name: str, options: RunOptions) -> Run:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # one of several ranks: all of them take the name as it is
        run = Run(method, name, options)
        run.folder.mkdir(parents=True, exist_ok=True)
        return run
    number = 1
    while True:
        run = Run(method, name if number == 1 else f"{name}-{number}", options)
        try:
            run.folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return run
