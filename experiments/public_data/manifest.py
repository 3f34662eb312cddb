"""What is said at the end of preparing a data set: counts, hashes, failures, licences, near-duplicates."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.public_data.near_duplicates import DISTANCE, find_twins
from lightning_modules.files import write_atomically

MANIFEST = "manifest.json"
TWINS = "near_duplicates.csv"


class Hashed(NamedTuple):
    """A picture's name, its split and its perceptual hash in hexadecimal digits."""

    name: str
    split: str
    phash: str


def report_twins(folder: Path, pictures: Sequence[Hashed]) -> dict[str, Any]:
    """Write pictures that show what pictures of another split show as a table, and return what the manifest says of it.

    Args:
        folder: Gets `TWINS`.
        pictures: In a fixed order; training pictures are those that the others are compared with.
    """
    splits = sorted({picture.split for picture in pictures}, key=lambda split: (split != "train", split))
    hashes = np.array([int(picture.phash, 16) for picture in pictures], np.uint64)
    twins = find_twins(hashes, np.array([splits.index(picture.split) for picture in pictures], np.int64))
    rows = [(*pictures[twin.position][:2], *pictures[twin.other][:2], twin.distance) for twin in twins]
    write_csv(folder / TWINS, ("picture", "split", "near", "its_split", "bits"), rows)
    return {
        "splits": splits, "compared": len(pictures), "most_bits": DISTANCE, "found": len(twins), "file": TWINS,
    }  # fmt: skip


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table whole or not at all."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    write_atomically(path, text.getvalue())


def write_manifest(path: Path, facts: dict[str, Any]) -> None:
    """Write the manifest, the last file of a data set: where it is, the data set is whole."""
    write_atomically(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
