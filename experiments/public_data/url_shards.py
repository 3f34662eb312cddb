"""From lists of addresses to shards in which every good picture is once, whatever interrupts it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.public_data.checking import GOOD, Shard, check_shard
from experiments.public_data.disk import require_space
from experiments.public_data.engine import Engine, fetch_all
from experiments.public_data.manifest import report_twins, write_manifest
from experiments.public_data.pool import spread
from experiments.public_data.publishing import (
    FAILURES,
    REPEATED,
    Finished,
    repeated_pictures,
    sha256_of,
    summary,
    write_failures,
    write_shard,
)
from experiments.public_data.staging import alone
from experiments.public_data.url_lists import Addresses, read_lists
from experiments.public_data.workplace import Recipe, Workplace, is_finished, read_table, write_plan
from lightning_modules.errors import ImpastoError


class UrlShards:
    """Pictures of lists of addresses as shards.

    Args:
        lists: Files of addresses.
        column: Of the addresses, in lists that are tables.
        min_side: Least length of a picture's shorter side, in pixels.
        shard_size: Addresses a shard.
        engine: How they are fetched.
        workers: Processes that look at pictures; by default one a core.
        near_duplicates: Whether to look for pictures that are nearly the same in several splits.
        expected: Bytes of a picture, for the question whether the disk has room.
    """

    def __init__(
        self,
        lists: Sequence[Path],
        *,
        column: str,
        min_side: int,
        shard_size: int,
        engine: Engine,
        workers: int | None,
        near_duplicates: bool,
        expected: int,
    ) -> None:
        self.lists = lists
        self.column = column
        self.min_side = min_side
        self.shard_size = shard_size
        self.engine = engine
        self.workers = workers
        self.near_duplicates = near_duplicates
        self.expected = expected

    def write(self, out: Path) -> None:
        """Fetch, look at and store what is not there yet; the manifest comes last.

        Raises:
            ImpastoError: If there is nothing to fetch or to fetch it with, or the folder holds something else.
        """
        place = Workplace(out)
        addresses = read_lists(self.lists, self.column)
        recipe = self._recipe()
        with alone(out):
            if is_finished(place, recipe):
                shutil.rmtree(place.hidden, ignore_errors=True)
                return
            write_plan(place, recipe, addresses.table)
            missing = sum(place.rows(number).num_rows for number in place.shards() if not place.is_fetched(number))
            require_space(out, self.expected * missing, f"Fetching {missing} pictures")
            fetch_all(place, self.engine, self.shard_size)
            self._check(place)
            hashes = self._publish(place)
            self._finish(place, recipe, addresses, hashes)
            shutil.rmtree(place.hidden, ignore_errors=True)

    def _recipe(self) -> Recipe:
        lists = {path.name: sha256_of(path) for path in self.lists}
        return {"lists": lists, "column": self.column, "min_side": self.min_side, "shard_size": self.shard_size}

    def _check(self, place: Workplace) -> None:
        jobs = [Shard(place, n, self.min_side) for n in place.shards() if not place.checked(n).is_file()]
        damaged = [
            job.number
            for job, whole in spread(check_shard, jobs, workers=self.workers, title="Looking at shards")
            if not whole
        ]
        for number in damaged:
            place.raw(number).unlink()
        if damaged:
            raise ImpastoError(
                f"{len(damaged)} shards are cut off, first {damaged[0]:05d}: the same command fetches them."
            )
        statuses = _statuses(place)
        if not any(status == GOOD for status, _ in statuses):
            shutil.rmtree(place.hidden)
            reason = statuses.most_common(1)[0][0][1]
            raise ImpastoError(f"None of the addresses gave a picture, most often for this reason: {reason}.")

    def _publish(self, place: Workplace) -> dict[int, str]:
        repeated = repeated_pictures(place)
        jobs = [Finished(place, number, repeated[number]) for number in place.shards()]
        hashes = {}
        for job, digest in spread(write_shard, jobs, workers=self.workers, title="Writing shards"):
            hashes[job.number] = digest
            place.raw(job.number).unlink(missing_ok=True)
        return hashes

    def _finish(self, place: Workplace, recipe: Recipe, addresses: Addresses, hashes: dict[int, str]) -> None:
        reasons = write_failures(place, addresses.unusable)
        whole = summary(place)
        facts: dict[str, Any] = {
            "data": "pictures of lists of addresses, as served",
            "recipe": recipe,
            "counts": {
                "addresses": sum(whole.statuses.values()) + len(addresses.unusable),
                "repeated_addresses": addresses.repeated,
                "pictures": whole.statuses[GOOD],
                "repeated_pictures": whole.statuses[REPEATED],
                "failed": sum(reasons.values()),
            },
            "failures": {"file": FAILURES, "reasons": dict(reasons.most_common())},
            "licences": dict(whole.licences.most_common()),
            "shards": {
                f"{number:05d}.tar": {"pictures": whole.kept[number], "sha256": hashes[number]}
                for number in sorted(hashes)
            },
        }
        if self.near_duplicates:
            facts["near_duplicates"] = report_twins(place.out, whole.pictures)
        write_manifest(place.manifest, facts)


def _statuses(place: Workplace) -> Counter[tuple[str, str]]:
    columns = ["status", "error_message"]
    tables = [read_table(place.checked(number), columns=columns) for number in place.shards()]
    return Counter((row["status"], row["error_message"]) for table in tables for row in table.to_pylist())
