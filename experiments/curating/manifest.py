"""What a curation leaves behind: the manifest, the broken pictures, the borderline cases, and how many of each."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from callbacks.contact_sheet import SIDE, Tile, write_contact_sheet
from datamodules.images import ImageReadError
from experiments.curating.archive import DamagedShardError, members
from experiments.curating.extras import needed
from experiments.curating.scoring import Task, read_member
from lightning_modules.files import replacing, write_atomically

Keep = Literal["stylistic", "content"]
Line = dict[str, Any]
KEPT = ("shard", "key", "url", "sha256", "width", "height", "score")
"""Columns of the manifest beside ``kept``."""


@dataclass(frozen=True)
class Rule:
    """Which pictures are kept.

    Attributes:
        keep: ``stylistic`` or ``content``.
        threshold: Least probability of being that, in [0, 1].
    """

    keep: Keep
    threshold: float

    def margin(self, score: float) -> float:
        """Return by how much a picture is beyond the threshold; one below 0 is not kept."""
        return (score if self.keep == "stylistic" else 1 - score) - self.threshold


def write_results(tasks: Sequence[Task], out: Path, rule: Rule, borderline: int) -> Path:
    """Write everything, the manifest last.

    Args:
        tasks: Shards, all finished.
        out: Folder to write.
        rule: Which pictures are kept.
        borderline: How many of the pictures nearest to the threshold to show.

    Returns:
        The manifest: parquet, one row for every picture that was scored, shard by shard, with its score and ``kept``.
    """
    counts: Counter[str] = Counter()
    near: list[tuple[float, Line]] = []
    broken: list[Line] = []
    path = out / "manifest.parquet"
    with replacing(path) as temporary, _manifest(temporary) as writer:
        for task in tasks:
            lines = _scores(task)
            scored = [line for line in lines if line["state"] == "scored"]
            for line in scored:
                line["kept"] = rule.margin(line["score"]) >= 0
            writer.add(scored)
            broken += [line for line in lines if line["state"] == "broken"]
            counts.update(line["state"] for line in lines)
            counts["kept"] += sum(line["kept"] for line in scored)
            near += [(abs(rule.margin(line["score"])), line) for line in scored]
            near = sorted(near, key=lambda case: (case[0], case[1]["shard"], case[1]["key"]))[:borderline]
        _write_table(out / "broken.csv", ("shard", "key", "url", "reason"), broken)
        cases = [line for _, line in near]
        _write_table(out / "borderline.csv", (*KEPT, "kept"), cases)
        write_contact_sheet(out / "borderline.jpg", _tiles(tasks, cases))
        _write_summary(out / "summary.json", rule, counts, len(tasks))
    return path


def _scores(task: Task) -> list[Line]:
    parquet: Any = needed("pyarrow.parquet", "data")
    lines: list[Line] = parquet.read_table(task.target).to_pylist()
    return lines


class _manifest:  # noqa: N801 - a context, named as one
    """Writes rows group by group, so that millions never lie in memory at once."""

    def __init__(self, path: Path) -> None:
        arrow: Any = needed("pyarrow", "data")
        parquet: Any = needed("pyarrow.parquet", "data")
        numbers = {"width": arrow.int32(), "height": arrow.int32(), "score": arrow.float32(), "kept": arrow.bool_()}
        self.schema = arrow.schema([(name, numbers.get(name, arrow.string())) for name in (*KEPT, "kept")])
        self.table = arrow.Table
        self.writer = parquet.ParquetWriter(path, self.schema)

    def __enter__(self) -> "_manifest":
        return self

    def __exit__(self, *failure: object) -> None:
        self.writer.close()

    def add(self, lines: Sequence[Line]) -> None:
        """Add a group of rows."""
        columns = {name: [line[name] for line in lines] for name in self.schema.names}
        self.writer.write_table(self.table.from_pydict(columns, schema=self.schema))


def _tiles(tasks: Sequence[Task], cases: Sequence[Line]) -> Iterator[Tile]:
    """Read the borderline pictures again, each shard once, and yield them in the order of the cases."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for line in cases:
        wanted[line["shard"]].add(line["key"])
    found: dict[tuple[str, str], Any] = {}
    for task in tasks:
        name = task.shard.stem
        if name not in wanted:
            continue
        try:
            for member in members(task.shard, wanted[name]):
                found[name, member.key] = read_member(member, SIDE)
        except (DamagedShardError, ImageReadError):
            continue  # the shard has changed since, or is cut off behind them
    for line in cases:
        place = (line["shard"], line["key"])
        if place in found:
            yield found[place], f"{line['score']:.2f} {'kept' if line['kept'] else 'left out'}\n{'/'.join(place)}"


def _write_table(path: Path, columns: Sequence[str], lines: Sequence[Line]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


def _write_summary(path: Path, rule: Rule, counts: Counter[str], shards: int) -> None:
    summary = {
        "keep": rule.keep,
        "threshold": rule.threshold,
        "shards": shards,
        "kept": counts["kept"],
        "left_out": counts["scored"] - counts["kept"],
        "too_small": counts["small"],
        "broken": counts["broken"],
    }
    write_atomically(path, json.dumps(summary, indent=2) + "\n")
