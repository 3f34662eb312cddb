"""How this process was started: by itself, or as one of several ranks that torchrun or SLURM started from outside."""

import os

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer

from lightning_modules.errors import ImpastoError


def rank() -> int:
    """Return the number of this process among those that train together, 0 where it is alone."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0"))))


def processes() -> int:
    """Return how many ranks somebody else has started, 1 where this process is alone.

    Lightning starts its own later, from this process, and tells them the same as torchrun does.
    """
    tasks = int(os.environ.get("SLURM_NTASKS", "1")) if SLURMEnvironment.detect() else 1
    return max(int(os.environ.get("WORLD_SIZE", "1")), tasks)


def is_one_of_several() -> bool:
    """Tell whether somebody else started several ranks: Lightning starts its own later, from this process."""
    return processes() > 1


def was_requeued() -> bool:
    """Tell whether SLURM starts this job again, which then comes back to its own folder."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def check_processes(trainer: Trainer) -> None:
    """Refuse to train where as many processes were started as the trainer does not know of.

    Lightning believes the launcher's number or its own, whichever its strategy asks: two processes of which each trains
    alone write over each other's files, and SLURM's fewer tasks quietly train on fewer devices
    (Lightning-AI/pytorch-lightning#20391).

    Args:
        trainer: As it was built from the configuration.

    Raises:
        ImpastoError: If processes and devices differ in number.
    """
    started, wanted = processes(), trainer.num_devices * trainer.num_nodes
    if started > 1 and not started == wanted == trainer.world_size:
        raise ImpastoError(
            f"{started} processes were started for {trainer.num_devices} devices on each of {trainer.num_nodes} nodes: "
            "give --trainer.devices and --trainer.num_nodes what the launcher has started, and --trainer.strategy ddp, "
            "as the files of experiments/cluster do."
        )
