"""Where annotated pictures come from: two folders, a CSV file, or paintings beside photographs."""

import csv
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.images import list_images
from datamodules.notes import note
from datamodules.records import Stored
from datamodules.sources import ContentSource, Split, StyleSource
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import composed, find_file

LABELS = {"stylistic": True, "plain": False, "1": True, "0": False}
"""What a table may say, and what the two folders are called."""


class Annotation(NamedTuple):
    """A picture and what somebody has said of it.

    Attributes:
        path: The picture.
        stylistic: Whether it would make sense as the style of another picture; None where nobody has said.
        group: What a split keeps whole, such as the painter.
    """

    path: Stored
    stylistic: bool | None
    group: str


class AnnotationSource(ABC):
    """Lists annotated pictures."""

    def prepare(self) -> None:  # noqa: B027  most sources have nothing to do
        """Download or generate what is missing; called in one process per machine."""

    @abstractmethod
    def annotations(self, split: Split) -> list[Annotation]:
        """List the pictures of a split in a fixed order; no group is in two splits.

        Raises:
            ImpastoError: If there are none, with what to do about it.
        """


class AnnotatedFolders(AnnotationSource):
    """Pictures in two folders, ``<root>/stylistic`` and ``<root>/plain``.

    A folder in one of them is a group, such as a painter's; a picture that lies there itself is a group of its own.

    Args:
        root: The folder of both.
        holdout: Share of the groups of each kind for validation, and as much again for the test, in (0, 0.5).
        fold: Which groups these are; another number holds out others.
    """

    def __init__(self, root: Path | str, *, holdout: float = 0.15, fold: int = 0) -> None:
        self.root = Path(root)
        self.split = GroupSplit(holdout, fold)

    def annotations(self, split: Split) -> list[Annotation]:
        """List the pictures of a split, sorted by path."""
        found = []
        for name in ("stylistic", "plain"):
            folder = self.root / name
            if not folder.is_dir():
                raise ImpastoError(f"There is no folder {folder}: {self.root} must hold `stylistic` and `plain`.")
            for path in list_images(folder):
                group = path.relative_to(folder).parts[0]
                found.append(Annotation(path, LABELS[name], composed(group)))
        return self.split.take(found, split)


class AnnotationTable(AnnotationSource):
    """Pictures as a CSV file lists them, with the columns ``path``, ``label`` and, if they are known, ``group``.

    Paths are relative to the table, or absolute. A label is ``stylistic`` or ``plain``, ``1`` or ``0``; a line without
    one is left out, so that the table of the least certain pictures can be filled in and read again. A picture without
    a group is a group of its own.

    Args:
        path: The CSV file.
        holdout: As of `AnnotatedFolders`.
        fold: As of `AnnotatedFolders`.
    """

    def __init__(self, path: Path | str, *, holdout: float = 0.15, fold: int = 0) -> None:
        self.path = Path(path)
        self.split = GroupSplit(holdout, fold)

    def annotations(self, split: Split) -> list[Annotation]:
        """List the pictures of a split, in the order of the lines."""
        rows = self._rows()
        found = [self._annotation(row, number) for number, row in enumerate(rows, 2)]
        labelled = [annotation for annotation in found if annotation.stylistic is not None]
        if len(labelled) < len(found):
            note(f"{self.path}: left out {len(found) - len(labelled)} of {len(found)} lines, which have no label.")
        return self.split.take(labelled, split)

    def _rows(self) -> list[dict[str, str | None]]:
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                rows, columns = list(reader), reader.fieldnames or []
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImpastoError(f"The annotations {self.path} cannot be read ({reason}): give a CSV file.") from error
        if not {"path", "label"} <= set(columns):
            raise ImpastoError(
                f"Line 1 of {self.path} has the columns {', '.join(columns) or 'none'}: there must be path and label, "
                "and there may be group."
            )
        return rows

    def _annotation(self, row: Mapping[str, str | None], number: int) -> Annotation:
        name, label, group = ((row.get(column) or "").strip() for column in ("path", "label", "group"))
        path = find_file(self.path.parent / name)
        if not name or not path.is_file():
            raise ImpastoError(f"Line {number} of {self.path} names the picture {path}, which is not there.")
        if label and label.casefold() not in LABELS:
            raise ImpastoError(f"Line {number} of {self.path} has the label {label!r}: write stylistic or plain.")
        return Annotation(path, LABELS.get(label.casefold()) if label else None, group or str(path))


class PaintingsAndContents(AnnotationSource):
    """The paintings of a style source are stylistic, the photographs and scenes of a content source are not.

    Of every split of the sources, the paintings by its own painters are taken: a held-out painter was not seen in
    training, nor what the paintings of the validation and the test show, where the sources split by content.

    Args:
        style: Paintings.
        content: Photographs.
        holdout: Share of the painters for validation, and as much again for the test, in (0, 0.5).
        fold: Which painters these are; another number holds out others.
    """

    def __init__(self, style: StyleSource, content: ContentSource, *, holdout: float = 0.25, fold: int = 0) -> None:
        self.style = style
        self.content = content
        self.split = GroupSplit(holdout, fold)

    def prepare(self) -> None:
        """Prepare both."""
        self.style.prepare()
        self.content.prepare()

    def annotations(self, split: Split) -> list[Annotation]:
        """List the paintings of a split, then its photographs."""
        painters = {painting.artist for painting in self.style.paintings("train")}
        mine = self.split.groups(sorted(painters))[split]
        paintings = [work for work in self.style.paintings(split) if work.artist in mine]
        return [Annotation(work.path, True, work.artist) for work in paintings] + [
            Annotation(content.path, False, "plain") for content in self.content.contents(split)
        ]


class GroupSplit:
    """Splits groups by a hash of their names, so that none is in two splits.

    Args:
        holdout: Share of the groups for validation, and as much again for the test, in (0, 0.5).
        fold: Which groups these are: with ``round(1 / holdout)`` folds each is in the test once.

    Raises:
        ImpastoError: If the share is out of range.
    """

    def __init__(self, holdout: float, fold: int) -> None:
        if not 0 < holdout < 0.5:
            raise ImpastoError(f"holdout is {holdout}, and must lie between 0 and 0.5: training needs the rest.")
        self.holdout = holdout
        self.fold = fold

    def groups(self, names: Sequence[str]) -> dict[Split, frozenset[str]]:
        """Return which groups each split has.

        Raises:
            ImpastoError: If there are fewer than three.
        """
        if len(names) < 3:
            raise ImpastoError(
                f"There are {len(names)} groups of one kind of pictures, and training, validation and test need one "
                "each: annotate more."
            )
        order = sorted(names, key=_hash)
        count = min(max(1, round(self.holdout * len(order))), (len(order) - 1) // 2)
        first = self.fold * count % len(order)
        turned = order[first:] + order[:first]
        test, val, train = turned[:count], turned[count : 2 * count], turned[2 * count :]
        return {"train": frozenset(train), "val": frozenset(val), "test": frozenset(test)}

    def take(self, annotations: Sequence[Annotation], split: Split) -> list[Annotation]:
        """Return the pictures of a split's groups, in their order; both kinds have groups in every split.

        A group with pictures of both kinds goes where its stylistic ones go.
        """
        kept: set[str] = set()
        taken: set[str] = set()
        for kind in (True, False):
            names = {each.group for each in annotations if each.stylistic is kind} - taken
            kept |= self.groups(sorted(names))[split]
            taken |= names
        return [each for each in annotations if each.group in kept]


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
