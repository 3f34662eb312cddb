"""How this process was started: by itself, or as one of several ranks that torchrun or SLURM started from outside."""

import os

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment


def rank() -> int:
    """Return the number of this process among those that train together, 0 where it is alone."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", os.environ.get("LOCAL_RANK", "0"))))


def is_one_of_several() -> bool:
    """Tell whether somebody else started several ranks: Lightning starts its own later, from this process."""
    tasks = int(os.environ.get("SLURM_NTASKS", "1")) if SLURMEnvironment.detect() else 1
    return max(int(os.environ.get("WORLD_SIZE", "1")), tasks) > 1


def was_requeued() -> bool:
    """Tell whether SLURM starts this job again, which then comes back to its own folder."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
