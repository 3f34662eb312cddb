"""The one function of a curation: shard in, scores out. It may be run anywhere, any number of times."""

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from PIL import Image

from datamodules.annotations import as_tensor, read_square
from datamodules.images import ImageReadError
from datamodules.pictures import Pixels
from experiments.curating.archive import DamagedShardError, Member, members
from experiments.curating.extras import needed
from lightning_modules.checkpoints import load_experiment
from lightning_modules.classifiers.stylistic import StylisticPrediction
from lightning_modules.files import replacing

State = Literal["scored", "small", "broken"]
BYTES = b"impasto.shard_bytes"
"""What a file of scores notes of its shard: one that was fetched again since is scored again."""
COLUMNS = ("shard", "key", "url", "sha256", "width", "height", "score", "state", "reason")


@dataclass(frozen=True)
class Task:
    """A shard and where its scores go; it travels to other processes and machines.

    Attributes:
        shard: The tar file.
        target: The parquet file to write.
        checkpoint: Of the predictor.
        min_side: Pictures with a shorter side, in pixels, are not looked at.
        device: Where the predictor runs.
        batch: Pictures that it sees at once.
        threads: Of the processor for one process; None leaves it to torch.
    """

    shard: Path
    target: Path
    checkpoint: Path
    min_side: int = 0
    device: str = "cpu"
    batch: int = 32
    threads: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the scores are there, whole and of the shard as it is."""
        if not self.target.is_file():
            return False
        parquet: Any = needed("pyarrow.parquet", "data")
        try:
            noted = parquet.read_schema(self.target).metadata or {}
        except (OSError, ValueError):
            return False
        return bool(noted.get(BYTES) == str(self.shard.stat().st_size).encode())


@dataclass
class Row:
    """What is known of a picture in the end; `COLUMNS` are its fields."""

    shard: str
    key: str
    url: str = ""
    sha256: str = ""
    width: int | None = None
    height: int | None = None
    score: float | None = None
    state: State = "scored"
    reason: str = ""
    pixels: Pixels | None = field(default=None, repr=False)


def score_shard(task: Task) -> Path:
    """Write the scores of a shard's pictures, whole or not at all; return at once where they are there.

    Args:
        task: What to do.

    Returns:
        The file of scores.

    Raises:
        ImpastoError: If the predictor cannot be loaded.
        OSError: If the scores cannot be written.
    """
    if task.finished:
        return task.target
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    predictor = open_predictor(task.checkpoint, task.device)
    rows: list[Row] = []
    waiting: list[Row] = []
    for row in _looked_at(task, predictor.side):
        rows.append(row)
        if row.pixels is not None:
            waiting.append(row)
        if len(waiting) == task.batch:
            _score(predictor, waiting)
            waiting = []
    _score(predictor, waiting)
    _write(rows, task)
    return task.target


def score_share(tasks: Sequence[Task]) -> None:
    """Do several shards, one after the other."""
    for task in tasks:
        score_shard(task)


@lru_cache(maxsize=4)
def open_predictor(checkpoint: Path, device: str) -> StylisticPrediction:
    """Return the predictor of a checkpoint, loaded once a process.

    Raises:
        ImpastoError: If there is none in it.
    """
    return load_experiment(checkpoint, StylisticPrediction, device)


def read_member(member: Member, side: int) -> Pixels:
    """Return the square in the middle of a picture, ``(side, side, 3)``.

    Raises:
        ImageReadError: If it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
        path = Path(folder) / PurePosixPath(member.name).name
        path.write_bytes(member.data)
        try:
            return read_square(path, side)
        except ImageReadError as error:
            raise ImageReadError(str(error).replace(str(path), member.name)) from error


def _looked_at(task: Task, side: int) -> Iterator[Row]:
    """Yield a row for every picture, with its pixels where it is to be scored."""
    name = task.shard.stem
    try:
        for member in members(task.shard):
            yield _inspected(Row(name, member.key, member.url, member.sha256), member, task.min_side, side)
    except DamagedShardError as error:
        yield Row(name, "", state="broken", reason=str(error))


def _inspected(row: Row, member: Member, min_side: int, side: int) -> Row:
    try:
        row.width, row.height = _size(member.data)
        if min_side > min(row.width, row.height):
            row.state, row.reason = "small", f"{row.width} x {row.height} pixels, of at least {min_side}"
            return row
        row.pixels = read_member(member, side)
    except (ImageReadError, OSError, ValueError, Image.DecompressionBombError) as error:
        row.state, row.reason = "broken", str(error) if isinstance(error, ImageReadError) else _no_picture(member)
    return row


def _size(data: bytes) -> tuple[int, int]:
    """Read a picture's size from its head."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def _no_picture(member: Member) -> str:
    return f"{member.name} is an empty file." if not member.data else f"{member.name} is not a picture."


@torch.no_grad()
def _score(predictor: StylisticPrediction, rows: Sequence[Row]) -> None:
    squares = [as_tensor(row.pixels) for row in rows if row.pixels is not None]
    if not squares:
        return
    scores = predictor(torch.stack(squares).to(predictor.device)).cpu().tolist()
    for row, score in zip(rows, scores, strict=True):
        row.score, row.pixels = score, None


def _write(rows: Sequence[Row], task: Task) -> None:
    arrow: Any = needed("pyarrow", "data")
    parquet: Any = needed("pyarrow.parquet", "data")
    numbers = {"width": arrow.int32(), "height": arrow.int32(), "score": arrow.float32()}
    schema = arrow.schema([(name, numbers.get(name, arrow.string())) for name in COLUMNS])
    noted = {BYTES: str(task.shard.stat().st_size).encode()}
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    table = arrow.Table.from_pydict(columns, schema=schema).replace_schema_metadata(noted)
    with replacing(task.target) as temporary:
        parquet.write_table(table, temporary)
