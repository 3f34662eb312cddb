"""The whole board: who is left to be made, side by side, and what came of each."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from experiments.evaluation.protocol import is_frozen, write_protocol
from experiments.evaluation.recipe import protocol_file, read_mapping
from experiments.evaluation.run import settle_protocol
from experiments.failures import explained
from experiments.leaderboard.contestants import Roster, Section
from experiments.leaderboard.records import Record, read_record
from experiments.leaderboard.units import Frozen, Place, Unit
from experiments.leaderboard.workshop import Workshop
from lightning_modules.errors import ImpastoError


@dataclass
class Outcome:
    """What a session of the board did: names of units, and a sentence about each that failed."""

    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def units_of(roster: Roster, place: Place, only: Sequence[str], seeds: Sequence[int]) -> list[Unit]:
    """Return what is asked for; see `Roster.units`."""
    chosen = roster.units(only, seeds)
    return [Unit(who, seed, roster.sections[who.section], place) for who, seed in chosen]


def freeze_protocols(roster: Roster, units: Sequence[Unit], place: Place) -> dict[str, Frozen]:
    """Freeze the protocol of every section that units need, and paint what is missing of its pictures.

    Returns:
        By key of the section.

    Raises:
        ImpastoError: If records of the section were measured on other pictures than this machine makes.
    """
    found: dict[str, Frozen] = {}
    for key in dict.fromkeys(unit.contestant.section for unit in units):
        section = roster.sections[key]
        if section.protocol is None:
            continue
        protocol = settle_protocol(_asked(section, place))
        file = place.runs / "leaderboard" / f"{key}.yaml"
        write_protocol(protocol, file)
        _check_alike(roster, key, place, protocol.sha256())
        found[key] = Frozen(protocol, file)
    return found


def make_all(
    units: Sequence[Unit], frozen: Mapping[str, Frozen], workshop: Workshop, jobs: int, told: Callable[[str], None]
) -> Outcome:
    """Make units, some side by side; one that fails does not keep the others from being made.

    Args:
        units: What is to be made, in this order.
        frozen: Protocols by section.
        workshop: Runs the commands, and is closed in the end.
        jobs: How many at once.
        told: Gets a line about each.
    """
    outcome = Outcome()
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(unit.make, frozen.get(unit.contestant.section), workshop): unit for unit in units}
        try:
            for done in as_completed(waiting):
                told(_noted(outcome, waiting[done], done))
        finally:
            for future in waiting:
                future.cancel()
            workshop.close()
    return outcome


def _noted(outcome: Outcome, unit: Unit, done: Future[Record]) -> str:
    """Note what came of a unit, and return it as a line."""
    try:
        done.result()
    except Exception as error:
        outcome.failed[unit.name] = explained(error)
        return f"{unit.name}: failed: {outcome.failed[unit.name]}"
    outcome.made.append(unit.name)
    return f"{unit.name}: {unit.record}"


def read_all(roster: Roster, out: Path) -> list[Record]:
    """Return all records that are there, in the roster's order.

    Raises:
        ImpastoError: If one is damaged.
    """
    paths = [out / f"{who.key}-{seed}.json" for who in roster.contestants for seed in who.seeds]
    return [read_record(path) for path in paths if path.is_file()]


def _asked(section: Section, place: Place) -> argparse.Namespace:
    """Return what `impasto evaluate` would be told; a frozen protocol knows where its pictures lie."""
    content = None if is_frozen(read_mapping(protocol_file(str(section.protocol)))) else place.data
    return argparse.Namespace(protocol=section.protocol, content=content, style=None, jobs=None, limit=section.limit)


def _check_alike(roster: Roster, section: str, place: Place, sha256: str) -> None:
    keys = {who.key for who in roster.contestants if who.section == section}
    for record in read_all(roster, place.out):
        if record.key in keys and record.protocol not in (None, sha256):
            raise ImpastoError(
                f"{record.key}-{record.seed} in {place.out} was measured on the protocol {record.protocol[:12]}, and "
                f"this machine's pictures make {sha256[:12]}: move the records away to measure all of them anew."
            )
