"""fit, validate, test and predict: LightningCLI with a run folder."""

import logging
import re
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

from callbacks.progress import progress_bar
from callbacks.save_config import SaveConfig
from experiments.commands import TRAINER_COMMANDS
from experiments.failures import Terminated
from experiments.profiles import base_of
from experiments.report.page import write_report
from experiments.runs.agreement import Agreement
from experiments.runs.keeper import RunKeeper
from experiments.runs.launch import check_processes
from experiments.runs.provenance import sources_in_printed_config
from experiments.runs.requeue import Requeue
from experiments.runs.run import Run, RunOptions, disconnect, open_run
from experiments.suggestions import CommandLineError, explain
from lightning_modules.checkpoints import start_from
from lightning_modules.experiment import Experiment

FOLDER = Path(__file__).resolve().parent
# What nobody who trains can act on: frozen networks are meant to be in eval mode, and Lightning is to mend the others.
NOISE = (
    "LightningCLI's args parameter",  # that is how a dispatcher calls it
    r"Found \d+ module\(s\) in eval mode at the start of training",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    "The `srun` command is available on your system but is not used",  # the launch files use it
    "You have overridden `on_before_batch_transfer` in `LightningModule`",  # a method looks up what it has on disk
)
ELSEWHERE = {"accumulate_grad_batches": ("model.accumulate", 1), "gradient_clip_val": ("model.clip", None)}
"""What Lightning's trainer does not take under manual optimisation: the option instead, and the harmless value."""


class ImpastoCLI(LightningCLI):
    """LightningCLI whose runs live in ``runs/<method>/<name>/`` and whose checkpoints know their recipe.

    Args:
        start: False stops when everything is built, and writes nothing.
        **kwargs: As of LightningCLI.
    """

    model: Experiment

    def __init__(self, *, start: bool, **kwargs: Any) -> None:
        self.start = start
        self.keeper: RunKeeper | None = None
        super().__init__(**kwargs)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and report a mistake in one sentence."""
        try:
            with sources_in_printed_config(args):
                super().parse_arguments(parser, args)
        except ArgumentError as error:
            keys = self._parser(args[0]).get_defaults(skip_validation=True).keys()
            raise CommandLineError(explain(error, [*keys, "model", "data"])) from error

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the run's folder and records."""
        parser.add_class_arguments(RunOptions)
        parser.add_argument(
            "--start_from", type=str | None, default=None, metavar="CHECKPOINT",
            help="fit: begin with these weights, and everything else anew; --ckpt_path goes on where a run stopped",
        )  # fmt: skip

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Open the run's folder, then build the trainer with its loggers and progress bar."""
        options = self._get(self.config, "trainer")
        _check_options(options)
        self._check_subject()
        callbacks = list(self._get(self.config_init, "trainer").callbacks or [])
        if options.enable_progress_bar is not False:
            callbacks.append(progress_bar())
        for name, value in self.model.settled.items():  # in `config.yaml` too: a run says what it was made with
            self.config[f"{self.subcommand}.model.init_args.{name}"] = value
        self.model.recipe = self._recipe()
        if self.start and not options.fast_dev_run:
            run = self._open_run(str(self.subcommand))
            self.keeper = RunKeeper(run)
            callbacks = [self.keeper, Agreement(self.settings()), *callbacks]
            if SLURMEnvironment.detect():
                callbacks.append(Requeue())
            kwargs["logger"] = run.loggers(str(self.subcommand))
        with self._orderly_end():
            trainer = super().instantiate_trainer(callbacks=callbacks, **kwargs)
            check_processes(trainer)
            return trainer

    def after_fit(self) -> None:
        """Put the run's own report beside its records."""
        disconnect()  # what W&B has to say comes before the path
        if self.keeper is not None and self.trainer.is_global_zero:
            folder = self.keeper.run.folder
            print(f"{'report':<11}{write_report([folder], folder / 'report').page}")

    def after_validate(self) -> None:
        """End the records, and say where they are."""
        disconnect()
        if self.keeper is not None and self.trainer.is_global_zero:
            print(f"{'records':<11}{self.keeper.run.folder}")

    after_test = after_predict = after_validate

    def _parse_ckpt_path(self) -> None:
        """Read no settings from a checkpoint: YAML says them all, and a damaged file is `open_run`'s to explain."""

    def _run_subcommand(self, subcommand: str) -> None:
        if not self.start:
            return
        with self._orderly_end():
            if subcommand == "fit":
                self._start_from(self._get(self.config, "start_from"))
            try:
                super()._run_subcommand(subcommand)
            except SIGTERMException:
                raise Terminated(f"Terminated{self._where_to_continue()}") from None
            except SystemExit as stop:  # Lightning's answer to Ctrl-C
                if not isinstance(stop.__context__, KeyboardInterrupt):
                    raise
                raise KeyboardInterrupt(f"Interrupted{self._where_to_continue()}") from None

    def _start_from(self, path: str | None) -> None:
        if path is None:
            return
        start = start_from(self.model, path)
        if self.trainer.is_global_zero:
            fresh = f"; anew: {', '.join(start.fresh)}" if start.fresh else ""
            left = f"; not wanted here: {', '.join(start.left)}" if start.left else ""
            print(f"{'start':<11}{path}: {', '.join(start.taken)}{fresh}{left}")

    @contextmanager
    def _orderly_end(self) -> Iterator[None]:
        """Leave nothing behind of a run that has failed before there was anything to keep."""
        try:
            yield
        except BaseException:
            disconnect(failed=True)
            if self.keeper is not None:
                self.keeper.close()
            raise

    def _where_to_continue(self) -> str:
        if self.keeper is None or not self.keeper.fruitful or str(self.subcommand) != "fit":
            return "; nothing was left behind."
        at, run = f" in iteration {self.trainer.global_step}", self.keeper.run
        if not (run.folder / "checkpoints" / "last.ckpt").is_file():
            return f"{at}, before the first checkpoint."
        return f"{at}: continue from the last checkpoint with --run_name {run.name} --ckpt_path last."

    def _check_subject(self) -> None:
        """Refuse to measure weights that nobody has trained, and to predict on no data."""
        command, data = str(self.subcommand), type(self.datamodule)
        if command != "fit" and self.model.trains and self.config_init[command]["ckpt_path"] is None:
            raise CommandLineError(
                f"`impasto {command}` needs a checkpoint, for nobody has trained these weights: give --ckpt_path last, "
                "or a file."
            )
        if command == "predict" and data.predict_dataloader is LightningDataModule.predict_dataloader:
            raise CommandLineError(f"{data.__name__} has nothing to predict on: paint with `impasto stylize`.")

    def _recipe(self) -> str:
        return yaml.safe_dump(yaml.safe_load(self.settings())["model"], sort_keys=False)

    def settings(self) -> str:
        """Return all settings of the subcommand as YAML."""
        return str(self._parser(self.subcommand).dump(self.config[str(self.subcommand)], skip_unset=False))

    def _open_run(self, subcommand: str) -> Run:
        config, init = self.config[subcommand], self.config_init[subcommand]
        names = {field.name: init[field.name] for field in fields(RunOptions)}
        names["profile"] = config["profile"] = names["profile"] or _profile(config.get("config"))
        run, init["ckpt_path"] = open_run(
            self.model.method,
            RunOptions(**names),
            job=subcommand,
            seed=config["seed_everything"],
            ckpt_path=init["ckpt_path"],
        )
        if init["weights_only"] is None:
            init["weights_only"] = True  # a checkpoint is data: nothing in it may run
        return run


def main(arguments: Sequence[str], run: bool = True, kind: type[ImpastoCLI] = ImpastoCLI) -> ImpastoCLI:
    """Parse one command line, build everything it names and, unless told otherwise, run it.

    Args:
        arguments: The subcommand (fit, validate, test or predict) and its options.
        run: False stops after building, and writes nothing.
        kind: What is built.

    Returns:
        The CLI with its ``model``, ``datamodule`` and ``trainer``.

    Raises:
        CommandLineError: If the command line or a YAML file does not fit.
    """
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_is_no_advertisement)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    settings: dict[str, Any] = {"exit_on_error": False, "default_config_files": [str(FOLDER / "defaults.yaml")]}
    return kind(
        start=run,
        model_class=Experiment,
        datamodule_class=LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        save_config_callback=SaveConfig,
        save_config_kwargs={"save_to_log_dir": False},
        parser_kwargs={"exit_on_error": False, **dict.fromkeys(TRAINER_COMMANDS, settings)},
        args=_with_base(_with_aliases(arguments)),
    )


class _Parsed(ImpastoCLI):
    """Knows every setting and builds nothing of it."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def _set_seed(self) -> None:
        """Leave all random numbers as they are."""


def settings_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Return all settings of a command line as the run's ``config.yaml`` would hold them, without building anything.

    What only a built model knows, such as which weights ``auto`` took, is as the command line says it.

    Args:
        arguments: As of `main`.

    Raises:
        CommandLineError: If the command line or a YAML file does not fit.
    """
    settings: dict[str, Any] = yaml.safe_load(main(arguments, run=False, kind=_Parsed).settings())
    return settings


def _check_options(options: Any) -> None:
    for name, (instead, rest) in ELSEWHERE.items():
        if options[name] not in {None, rest}:
            raise CommandLineError(
                f"The trainer does not take {name} of methods that optimise by hand: give --{instead} {options[name]}."
            )
    if options["overfit_batches"]:
        raise CommandLineError(
            "The trainer's overfit_batches would show new batches all the same, for they come as an endless stream: to "
            "learn a few pictures by heart, give data that has no others."
        )


def _with_aliases(arguments: Sequence[str]) -> list[str]:
    return [re.sub(r"^--seed(?==|$)", "--seed_everything", argument) for argument in arguments]


def _with_base(arguments: Sequence[str]) -> list[str]:
    """Lay a method's YAML file that holds differences alone on the method's tiny profile, where it comes first."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    at = next((number for number, word in enumerate(words[:-1]) if word in {"-c", "--config"}), None)
    base = None if at is None else base_of(Path(words[at + 1]))
    return list(arguments) if base is None else [*words[:at], "--config", str(base), *words[at:]]


def _profile(configs: Sequence[Any] | None) -> str:
    """Name the profile after the last YAML file that is no overlay: ``experiments/clast/tiny.yaml`` is ``tiny``."""
    files = [Path(str(config)) for config in configs or ()]
    return next((file.stem for file in reversed(files) if file.parent.name != "overlays"), "custom")


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: For seamless cloud" not in record.getMessage()
