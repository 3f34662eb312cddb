"""Endless random orders of items: none twice in a turn, and near to each other where items lie in blocks."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

TOGETHER = 4
"""Blocks whose items are shuffled together."""


class Order(Protocol):
    """An endless stream of item numbers, a pure function of the position."""

    def item(self, position: int) -> int:
        """Return the item at a position, 0 for the first."""


class ShuffledOrder:
    """Every turn is another permutation of all items.

    Args:
        items: Number of them.
        key: Seeds the order: non-negative numbers.
    """

    def __init__(self, items: int, key: Sequence[int]) -> None:
        self.items = items
        self.key = tuple(key)
        self._turn = lru_cache(maxsize=2)(self._shuffled)

    def item(self, position: int) -> int:
        """Return the item at a position, 0 for the first."""
        turn, place = divmod(position, self.items)
        return int(self._turn(turn)[place])

    def _shuffled(self, turn: int) -> NDArray[np.int64]:
        return np.random.default_rng([*self.key, turn]).permutation(self.items)


class _Turn(NamedTuple):
    """The blocks of one turn in their order, and where in it each group of them ends."""

    blocks: NDArray[np.int64]
    ends: NDArray[np.int64]


class BlockOrder:
    """A permutation that stays near: blocks in random order, and the items of a few blocks at a time shuffled.

    The stream is dealt to ``lanes``, one after the other, and every lane goes through its own equal part of the turn.
    A lane is a sample's place in the batch: a batch mixes as many regions of the data as it has samples, and ranks,
    each of which reads its own places, share no block but those in which two parts meet. It is the same stream for
    any number of ranks. A turn needs no permutation of all items.

    Args:
        blocks: Number of items of every block; items are numbered in the order of the blocks.
        key: Seeds the order: non-negative numbers.
        lanes: Number of parts.
    """

    def __init__(self, blocks: Sequence[int] | NDArray[np.int64], key: Sequence[int], *, lanes: int) -> None:
        self.sizes = np.asarray(blocks, dtype=np.int64)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.items = int(self.sizes.sum())
        self.key = tuple(key)
        self.lanes = lanes
        self._turn = lru_cache(maxsize=2)(self._arranged)
        self._group = lru_cache(maxsize=2 * lanes)(self._shuffled)

    def item(self, position: int) -> int:
        """Return the item at a position, 0 for the first."""
        turn = position // self.items
        place = self._place(position, turn * self.items)
        ends = self._turn(turn).ends
        group = int(np.searchsorted(ends, place, side="right"))
        return int(self._group(turn, group)[place - (ends[group - 1] if group else 0)])

    def _place(self, position: int, first: int) -> int:
        """Return where in the turn that begins at ``first`` the lane of a position has arrived."""
        lane = position % self.lanes
        before = np.arange(lane)
        shares = _dealt(first + self.items, before, self.lanes) - _dealt(first, before, self.lanes)
        own = _dealt(position, np.array(lane), self.lanes) - _dealt(first, np.array(lane), self.lanes)
        return int(shares.sum() + own)

    def _arranged(self, turn: int) -> _Turn:
        blocks = np.random.default_rng([*self.key, turn]).permutation(len(self.sizes))
        ends = np.cumsum(self.sizes[blocks])
        last = np.append(np.arange(TOGETHER - 1, len(ends) - 1, TOGETHER), len(ends) - 1)
        return _Turn(blocks, ends[last])

    def _shuffled(self, turn: int, group: int) -> NDArray[np.int64]:
        blocks = self._turn(turn).blocks[group * TOGETHER : (group + 1) * TOGETHER]
        items = [np.arange(self.starts[block], self.starts[block] + self.sizes[block]) for block in blocks]
        return np.random.default_rng([*self.key, turn, group]).permutation(np.concatenate(items))


def _dealt(count: int, lane: NDArray[np.int64], lanes: int) -> NDArray[np.int64]:
    """Return how many of the first ``count`` positions go to a lane."""
    return (count - lane + lanes - 1) // lanes


def make_order(
    items: int, key: Sequence[int], *, blocks: Sequence[int] | NDArray[np.int64] | None = None, lanes: int = 1
) -> Order:
    """Return the order of items that lie in blocks, or anywhere."""
    return ShuffledOrder(items, key) if blocks is None else BlockOrder(blocks, key, lanes=lanes)
