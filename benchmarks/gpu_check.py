"""Run every check that needs a GPU, in at most eight minutes and without a download; write one table.

make gpu-check                       # report/gpu-check/gpu_check.md and .json
make gpu-check DEVICE=cpu            # the same script at tiny sizes: figures mean nothing
python -m benchmarks.gpu_check --only painting scan

Every check runs in a process of its own, which begins with an empty device: one that runs out of memory, dies or takes
longer than it may has failed, and the others go on. What a check cannot do here is listed with its reason. The exit
status is 1 where a check has failed.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lightning_modules  # noqa: F401  (installs the torchvision shim)

# isort: split
import torch

from benchmarks.checks import equality, fitting, painting, scanning, training
from benchmarks.checks.case import Case, Place, Row, SkippedCheck
from benchmarks.full_profiles import make_pictures
from lightning_modules.files import write_atomically

MODULES = (equality, scanning, painting, training, fitting)
"""Each has `cases(tiny)`."""
MINUTES = 8.0
SLACK = 4
"""How much longer a check may take where it only tries the script, beside whatever else the machine does."""
GRACE = 5.0
"""Seconds that a process which was asked to end may take."""


@dataclass
class Result:
    """What came of one check.

    Attributes:
        name: Of the check.
        status: passed, skipped or failed.
        reason: Why, unless it has passed.
        seconds: That it took, with its start.
        rows: The figures that it came to.
    """

    name: str
    status: str = "failed"
    reason: str = ""
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)


def all_cases(tiny: bool, words: Sequence[str] = ()) -> list[Case]:
    """Return all checks, or those whose name has one of some words; what begins slowest comes last."""
    found = [case for module in MODULES for case in module.cases(tiny)]
    chosen = [case for case in found if not words or any(word in case.name for word in words)]
    return sorted(chosen, key=lambda case: "compiled" in case.name)


def run(case: Case, place: Place, allowed: float) -> Result:
    """Run one check in a process of its own.

    Args:
        case: The check.
        place: Where.
        allowed: Seconds, where they are fewer than its own.
    """
    context, result, start = get_context("forkserver"), Result(case.name), time.monotonic()
    if allowed < GRACE:
        return Result(case.name, "skipped", "the time of all checks is over")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(case, place, theirs), daemon=True)
    process.start()
    theirs.close()
    limit = min(case.seconds * (SLACK if place.tiny else 1), allowed)
    try:
        if ours.poll(allowed):  # its clock starts with the check: the first process waits for what all import
            ours.recv()
        _listen(ours, time.monotonic() + limit, result)
    except TimeoutError:
        result.reason = f"it took longer than {limit:.0f} s"
    except EOFError:
        process.join(GRACE)
        result.reason = f"its process died with status {process.exitcode}"
    _end(process)
    result.seconds = time.monotonic() - start
    return result


def _listen(pipe: Connection, end: float, result: Result) -> None:
    """Collect what a process says until it is done."""
    while pipe.poll(max(0.0, end - time.monotonic())):
        kind, *said = pipe.recv()
        if kind != "row":
            result.status, result.reason = kind, said[0]
            return
        result.rows.append(Row(*said[0]))
    raise TimeoutError


def _end(process: Any) -> None:
    process.join(GRACE)
    if process.is_alive():
        process.kill()
        process.join()


def work(case: Case, place: Place, pipe: Connection) -> None:
    """Be the process of one check: send its figures, and how it ended."""
    sys.stdout.flush()
    os.dup2(2, 1)  # what a training prints is no figure
    if place.tiny:
        torch.set_num_threads(1)
    pipe.send(("started",))
    try:
        for row in case.run(place):
            pipe.send(("row", tuple(row)))
    except SkippedCheck as reason:
        pipe.send(("skipped", str(reason)))
    except Exception as error:
        traceback.print_exc()
        pipe.send(("failed", f"{type(error).__name__}: {(str(error) or 'no message').strip().splitlines()[0]}"))
    else:
        pipe.send(("passed", ""))


# ---------------------------------------------------------------------- what is written


def machine(device: torch.device) -> dict[str, str]:
    """Return what the figures depend on."""
    known = {"python": platform.python_version(), "torch": torch.__version__, "device": "CPU, tiny sizes"}
    if device.type != "cuda":
        return known
    properties = torch.cuda.get_device_properties(device)
    memory = f"{properties.total_memory / 2**30:.0f} GiB"
    return known | {"device": f"{properties.name}, {memory}", "CUDA": str(torch.version.cuda)}


def table(results: Sequence[Result], where: dict[str, str]) -> str:
    """Return everything in Markdown: the figures, then what was skipped, then what has failed."""
    lines = [", ".join(f"{name} {value}" for name, value in where.items()), ""]
    lines += ["| check | figure | value | unit | beside |", "|---|---|---|---|---|"]
    for result in results:
        lines += [f"| {result.name} | {row.what} | {row.value:.4g} | {row.unit} | {row.note} |" for row in result.rows]
    for status in ("skipped", "failed"):
        named = [f"- {result.name}: {result.reason}" for result in results if result.status == status]
        lines += ["", f"{status}: {len(named) or 'none'}", "", *named]
    return "\n".join(lines).rstrip() + "\n"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="checks whose name has one of these")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all checks together (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("report/gpu-check"), help="folder to write (%(default)s)")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch finds no CUDA here: --device cpu tries the script at tiny sizes")
    return options


def main() -> int:
    """Run, print, write; return the exit status."""
    options = parse()
    device, end = torch.device(options.device), time.monotonic() + 60 * options.minutes
    tiny, results = device.type == "cpu", []
    context = get_context("forkserver")
    context.set_forkserver_preload([module.__name__ for module in MODULES])
    with tempfile.TemporaryDirectory() as folder:
        place = Place(device, tiny, Path(folder))
        make_pictures(place.pictures, side=64 if tiny else 512, artists=4 if tiny else 64)
        for case in all_cases(tiny, options.only):
            result = run(case, place, end - time.monotonic())
            figures = ", ".join(f"{row.what} {row.value:.4g} {row.unit}" for row in result.rows)
            print(f"{result.status:<8}{result.seconds:6.1f} s  {case.name}: {result.reason or figures}", flush=True)
            results.append(result)
    where = machine(device)
    text = table(results, where)
    write_atomically(options.out / "gpu_check.md", text)
    figures_too = [asdict(result) | {"rows": [row._asdict() for row in result.rows]} for result in results]
    write_atomically(
        options.out / "gpu_check.json", json.dumps({"machine": where, "checks": figures_too}, indent=2) + "\n"
    )
    print(f"\n{text}\n{options.out / 'gpu_check.md'}")
    return int(any(result.status == "failed" for result in results))


if __name__ == "__main__":
    sys.exit(main())
