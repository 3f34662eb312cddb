"""Where `impasto prepare bbst` keeps what it has so far, and how it knows its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.public_data.disk import remove_leftovers
from experiments.public_data.extras import extra
from experiments.public_data.staging import read_recipe
from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing, write_atomically

if TYPE_CHECKING:
    from pyarrow import Table

Recipe = dict[str, Any]


class Workplace(NamedTuple):
    """The folder of shards; what is unfinished lies in a hidden folder below it.

    Attributes:
        out: The folder.
    """

    out: Path

    @property
    def hidden(self) -> Path:
        """What is unfinished."""
        return self.out / ".preparing"

    @property
    def manifest(self) -> Path:
        """Written last of all."""
        return self.out / "manifest.json"

    def plan(self) -> Path:
        """Every address once, a row group a shard."""
        return self.hidden / "plan.parquet"

    def raw(self, shard: int) -> Path:
        """What servers sent for a shard; its table lies beside it, and came there before."""
        return self.hidden / f"{shard:05d}.tar"

    def fetched(self, shard: int) -> Path:
        """What became of each address of a shard, as img2dataset tells it."""
        return self.hidden / f"{shard:05d}.fetched.parquet"

    def checked(self, shard: int) -> Path:
        """The same after its pictures were looked at."""
        return self.hidden / f"{shard:05d}.checked.parquet"

    def is_fetched(self, shard: int) -> bool:
        """Tell whether nothing of a shard need be asked for any more; its pictures may be published already."""
        return self.raw(shard).is_file() or self.checked(shard).is_file()

    def shards(self) -> range:
        """Numbers of the shards of the plan."""
        return range(extra("pyarrow.parquet").read_metadata(self.plan()).num_row_groups)

    def rows(self, shard: int) -> Table:
        """The plan's rows of a shard."""
        return extra("pyarrow.parquet").ParquetFile(self.plan()).read_row_group(shard)


def is_finished(place: Workplace, recipe: Recipe) -> bool:
    """Tell whether a folder holds what the recipe makes; what a killed command left there is removed.

    Raises:
        ImpastoError: If it holds anything else.
    """
    known = next(
        (r for r in (read_recipe(place.manifest), read_recipe(place.hidden / "recipe.json")) if r is not None), None
    )
    if known is None and place.out.exists() and any(path.name != place.hidden.name for path in place.out.iterdir()):
        raise ImpastoError(f"{place.out} holds something other than shards of pictures: choose another folder.")
    if known is not None and known != recipe:
        names = [name for name in recipe if recipe[name] != known.get(name)]
        raise ImpastoError(
            f"{place.out} holds pictures of other settings ({', '.join(names)}): choose another folder with --out."
        )
    for folder in (place.out, place.hidden):
        remove_leftovers(folder)
    return place.manifest.is_file()


def write_plan(place: Workplace, recipe: Recipe, table: Table) -> None:
    """Write down what is to be fetched, unless that was done before; the recipe comes last."""
    if read_recipe(place.hidden / "recipe.json") == recipe:
        return
    shutil.rmtree(place.hidden, ignore_errors=True)
    write_table(table, place.plan(), row_group_size=recipe["shard_size"])
    write_atomically(place.hidden / "recipe.json", json.dumps({"recipe": recipe}, indent=2))


def write_table(table: Table, path: Path, **settings: Any) -> None:
    """Write a parquet file whole or not at all."""
    with replacing(path) as temporary:
        extra("pyarrow.parquet").write_table(table, temporary, **settings)


def read_table(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Read a parquet file in this thread, without what pyarrow's own function of the name imports."""
    return extra("pyarrow.parquet").ParquetFile(path).read(columns and [*columns], use_threads=False)
