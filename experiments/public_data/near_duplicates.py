"""Pictures of one split that show what pictures of another show: their perceptual hashes differ in few bits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.public_data.extras import extra

DISTANCE = 4  # bits of 64: survives shrinking and another JPEG quality
BITS = 64
_DRAFT = 256  # pixels that the shorter side of a JPEG keeps at least: eight times what the hash looks at
_ROWS = 1024  # of a table of distances that is made at once

Hashes = NDArray[np.uint64]


class Twin(NamedTuple):
    """A picture and its nearest one of the splits before its own.

    Attributes:
        position: Of the picture.
        other: Position of the nearest one.
        distance: Bits that differ, at most `DISTANCE`.
    """

    position: int
    other: int
    distance: int


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64 bits of pHash: signs of the lowest frequencies of the small grey picture.

    Source: imagehash, ``phash``.
    """
    image.draft("RGB", (_DRAFT, _DRAFT))
    return int(str(extra("imagehash").phash(image)), 16)


def find_twins(hashes: Hashes, splits: NDArray[Any]) -> list[Twin]:
    """Find for every picture the nearest one in the splits before its own, where one is near.

    Of hashes that differ in at most d bits, at least one of d + 1 stretches of bits is the same: only hashes that share
    one are compared.

    Args:
        hashes: ``(N,)``.
        splits: ``(N,)``, numbers; pictures of split 0 are only found, not looked for.

    Returns:
        Twins by position, at most one of each picture.
    """
    nearest: dict[int, tuple[int, int]] = {}
    for split in range(1, int(splits.max(initial=0)) + 1):
        asked = _distinct(hashes, np.flatnonzero(splits == split))
        known = _distinct(hashes, np.flatnonzero(splits < split))
        others, distances = _nearest(np.array([*asked], np.uint64), np.array([*known], np.uint64))
        first = list(known.values())
        for positions, other, distance in zip(asked.values(), others.tolist(), distances.tolist(), strict=True):
            if distance <= DISTANCE:
                nearest.update(dict.fromkeys(positions, (first[other][0], distance)))
    return [Twin(position, *nearest[position]) for position in sorted(nearest)]


def _distinct(hashes: Hashes, positions: NDArray[np.intp]) -> dict[int, list[int]]:
    """Return the positions of each hash: blank pictures share theirs with many."""
    found: dict[int, list[int]] = {}
    for position in positions.tolist():
        found.setdefault(int(hashes[position]), []).append(position)
    return found


def _nearest(asked: Hashes, known: Hashes) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Return for each hash the place of the nearest known one that shares a stretch, and its distance."""
    others, distances = np.zeros(len(asked), np.intp), np.full(len(asked), BITS + 1, np.uint8)
    edges = [BITS * part // (DISTANCE + 1) for part in range(DISTANCE + 2)]
    for low, high in pairwise(edges):
        buckets = [_buckets(values, low, high) for values in (asked, known)]
        for bucket in buckets[0].keys() & buckets[1].keys():
            candidates = buckets[1][bucket]
            for start in range(0, len(buckets[0][bucket]), _ROWS):
                rows = buckets[0][bucket][start : start + _ROWS]
                table = np.bitwise_count(asked[rows, None] ^ known[None, candidates])
                columns = table.argmin(axis=1)
                found = table[np.arange(len(rows)), columns]
                closer = found < distances[rows]
                distances[rows[closer]], others[rows[closer]] = found[closer], candidates[columns[closer]]
    return others, distances


def _buckets(values: Hashes, low: int, high: int) -> dict[int, NDArray[np.intp]]:
    """Return the places of the values by their bits from `low` to `high`."""
    stretch = (values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
    order = np.argsort(stretch, kind="stable")
    buckets, starts = np.unique(stretch[order], return_index=True)
    return dict(zip(buckets.tolist(), np.split(order, starts[1:]), strict=True)) if len(values) else {}
