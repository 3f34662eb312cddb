"""SaveConfig: the whole resolved configuration goes into the run's folder and to W&B."""

import shlex
import sys
from pathlib import Path

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

from lightning_modules.files import write_atomically


class SaveConfig(SaveConfigCallback):
    """Write ``config.yaml`` atomically, and give W&B the same together with the command line.

    Lightning's own callback tells W&B nothing and dies on an existing file (lightning#7679, #19728). The file can be
    passed to ``--config`` again.
    """

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Save once, on rank zero."""
        text = self.parser.dump(self.config, skip_unset=False)
        if trainer.loggers and trainer.loggers[0].save_dir is not None:
            folder = Path(getattr(trainer.loggers[0], "log_dir", None) or trainer.loggers[0].save_dir)
            write_atomically(folder / self.config_filename, text)
        config = {**yaml.safe_load(text), "command": shlex.join(sys.argv)}
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.config.update(config, allow_val_change=True)
