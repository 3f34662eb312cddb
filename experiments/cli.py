"""The `impasto` command: finds the subcommand, imports only what it needs, and ends every failure in one sentence.

Nothing in this file may import torch: `impasto --help` answers at once.
"""

import importlib
import importlib.util
import io
import os
import platform
import signal
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from experiments.commands import TRAINER_COMMANDS, commands, summary
from experiments.failures import Terminated, end_on_sigterm, explained, undisturbed
from experiments.processors import share_processors

FOLDER = Path(__file__).resolve().parent
RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
"""Where torchrun, SLURM and Lightning say which of several processes this is."""
LAST_WORDS = 1.0
"""Seconds between the last words of a failed task of `srun` and its end: what was not read by then may be lost."""
PACKAGES = ("experiments", "lightning_modules", "datamodules", "callbacks", "metrics")


def run() -> None:
    """Run the command line of this process and exit with its status: the `impasto` console script."""
    share_processors(os.environ)
    end_on_sigterm()
    status = execute(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what ends already does so with its own status, and no traceback
    if status and "SLURM_PROCID" in os.environ:
        time.sleep(LAST_WORDS)
    sys.exit(status)


def execute(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: What follows the program's name.

    Returns:
        The exit status: 0 is success, 1 a failure explained in one sentence, 2 a wrong command line, 130 Ctrl-C, 143
        SIGTERM. ``IMPASTO_TRACEBACK=1`` lets the exception itself out instead of the sentence.
    """
    print_any_name()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"impasto {version()}")
        return 0
    stranger = misplaced_package()
    if stranger:
        return _complain(stranger, 1)
    return _guarded(arguments[0], arguments[1:])


def print_any_name() -> None:
    """Let names of files that are no text through standard output, as the bytes that they are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def help_text() -> str:
    """Return the overview that `impasto --help` prints."""
    rows = TRAINER_COMMANDS | {name: summary(path) for name, path in commands().items()}
    width = max(map(len, rows))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in rows.items())
    return (
        "usage: impasto COMMAND [options]\n\n"
        "Artistic style transfer papers, trained, run and compared under one roof.\n\n"
        f"commands:\n{listing}\n\n"
        "`impasto COMMAND --help` explains one command; IMPASTO_TRACEBACK=1 shows where a failure came from."
    )


def misplaced_package() -> str:
    """Return a sentence that names the distribution which shadows one of our packages, or an empty string."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != FOLDER.parent:
            owners = [o for o in metadata.packages_distributions().get(name, []) if o != "impasto"]
            return (
                f"The package '{name}' comes from {origin}, not from Impasto: "
                + (f"uninstall {' and '.join(sorted(set(owners)))}" if owners else "remove it from the Python path")
                + ", or use `python -m experiments` from the repo's root."
            )
    return ""


def _guarded(command: str, arguments: Sequence[str]) -> int:
    import lightning_modules  # noqa: F401  installs the torchvision shim; only now is it known to be ours

    if os.environ.get("IMPASTO_TRACEBACK") == "1":
        return _dispatch(command, arguments)
    try:
        return _dispatch(command, arguments)
    except (Terminated, KeyboardInterrupt, Exception) as end:
        with undisturbed():
            return _complain(*_last_words(end))


def _last_words(end: BaseException) -> tuple[str, int]:
    """Return a sentence about the end of a command, and the exit status that goes with it."""
    from experiments.suggestions import CommandLineError

    if isinstance(end, Terminated):
        return end.sentence, end.code
    if isinstance(end, KeyboardInterrupt):
        return str(end) or "Interrupted.", 130
    if isinstance(end, CommandLineError):
        return str(end), 2
    return explained(end), 1


def _dispatch(command: str, arguments: Sequence[str]) -> int:
    if command in TRAINER_COMMANDS:
        from experiments.training import main

        main([command, *arguments])
        return 0
    available = commands()
    if command not in available:
        from experiments.suggestions import nearest

        hint = nearest(command, [*TRAINER_COMMANDS, *available])
        return _complain(f"'{command}' is not a command{hint}; `impasto --help` lists them.", 2)
    module = importlib.import_module(f"experiments.commands.{available[command].stem}")
    parser = ArgumentParser(
        prog=f"impasto {command}", description=module.__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    if hasattr(module, "add_method_arguments"):
        module.add_method_arguments(parser, arguments)
    known, strangers = parser.parse_known_args(arguments)
    if strangers:
        from experiments.suggestions import CommandLineError, nearest

        hint = nearest(strangers[0].partition("=")[0], parser._option_string_actions)
        raise CommandLineError(
            f"`impasto {command}` does not take {strangers[0]}{hint}; `impasto {command} --help` lists what it takes."
        )
    return module.main(known) or 0


def _complain(sentence: str, status: int) -> int:
    number = next((os.environ[name] for name in RANKS if name in os.environ), "0")
    who = "impasto" if number == "0" else f"impasto (rank {number} on {platform.node()})"
    print(f"{who}: {sentence}", file=sys.stderr)
    return status


def version() -> str:
    """Return the version of Impasto that is installed."""
    try:
        return metadata.version("impasto")
    except metadata.PackageNotFoundError:
        return "(not installed)"
