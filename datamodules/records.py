"""Pictures that are no files of their own: rows of a table, records of a shard. They read like files."""

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Generic, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item", covariant=True)
OPEN = 64
"""Files that a reader keeps open in a process."""


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Close it."""


File = TypeVar("File", bound=Closable)


class RecordReader(Protocol):
    """Reads the records of one data set; it travels to workers, and opens its files in each of them."""

    def read(self, number: int) -> bytes:
        """Return a record's bytes.

        Raises:
            ImpastoError: If the file that should hold it is missing or damaged.
        """


class OpenFiles(Generic[File]):
    """Files by number: the `OPEN` that were asked for last stay open, and none outlives this.

    Iterating yields the numbers of open files, the one that was asked for longest ago first.
    """

    def __init__(self) -> None:
        self._files: OrderedDict[int, File] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def get(self, number: int, opener: Callable[[], File]) -> File:
        """Return a file, which ``opener`` opens where it is not open."""
        if number not in self._files:
            self._files[number] = opener()
            while len(self._files) > OPEN:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(number)
        return self._files[number]

    def __del__(self) -> None:
        for file in self._files.values():
            file.close()  # else a file warns that nobody did


@dataclass(frozen=True, order=True)
class Record:
    """A picture inside a larger file, with what a path to a file of its own would offer.

    Attributes:
        parent: The file that holds it.
        name: Its own name in there, with a suffix where it has one.
        number: Among all records of its reader.
        reader: Reads it.
    """

    parent: Path
    name: str
    number: int
    reader: RecordReader = field(compare=False, repr=False)

    @property
    def suffix(self) -> str:
        """The suffix of its name."""
        return PurePosixPath(self.name).suffix

    def read_bytes(self) -> bytes:
        """Return its bytes."""
        return self.reader.read(self.number)

    def open(self, mode: str = "rb") -> io.BytesIO:  # noqa: ARG002  a path's signature
        """Return its bytes as a file."""
        return io.BytesIO(self.read_bytes())

    def __str__(self) -> str:
        return f"{self.name} in {self.parent}"


Stored = Path | Record
"""A picture's place: a file, or a record in one."""


class Blocked(Sequence[Item], Generic[Item]):
    """A list whose items lie in blocks, such as the row groups of a table, of which each is read as a whole.

    Args:
        items: In the order in which they lie there.
        blocks: The block of every item, any number that differs between neighbouring blocks.

    Attributes:
        blocks: Number of items of every block; batches are drawn block by block.
    """

    def __init__(self, items: Sequence[Item], blocks: Sequence[int] | NDArray[np.int64]) -> None:
        self._items = items
        self.blocks = runs(np.asarray(blocks))

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @overload
    def __getitem__(self, position: int) -> Item: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Item]: ...

    def __getitem__(self, position: int | slice) -> Item | Sequence[Item]:
        """Return an item, or a plain list of some."""
        return self._items[position]


def runs(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the lengths of runs of equal values.

    Examples:
        >>> runs(np.array([7, 7, 2, 7])).tolist()
        [2, 1, 1]
    """
    changes = np.flatnonzero(np.diff(values)) + 1
    return np.diff(np.concatenate([[0], changes, [len(values)]])) if len(values) else np.zeros(0, np.int64)


def blocks_of(items: Sequence[object]) -> NDArray[np.int64] | None:
    """Return the number of items of every block, or None where items lie anywhere."""
    return getattr(items, "blocks", None)
