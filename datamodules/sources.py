"""Where contents and paintings come from: folders on disk, described by a few YAML lines; tables and shards beside.

A content source lists photographs, a style source lists paintings with their artists; any of the one goes with any of
the other. Where a painting has the title of a content of the same split, it is that content's paired truth.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from datamodules.folders import list_files, note_left_out
from datamodules.images import is_image_name, list_images
from datamodules.notes import note
from datamodules.records import Stored
from datamodules.splits import checked_share, hold_out, in_split
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import composed, identity, shown

Split = Literal["train", "val", "test"]
HOLDOUT = 0.05
"""Share of every artist's paintings that is held out where nothing else is said."""


class Content(NamedTuple):
    """A photograph; a painting with the same title and split shows the same scene.

    Attributes:
        path: The file, or the record in one.
        title: What it shows.
        mask: A grey picture of the same proportions, white where it is to be painted.
    """

    path: Stored
    title: str
    mask: Path | None = None


class Painting(NamedTuple):
    """A painting; ``artist`` is the name that prompts use."""

    path: Stored
    artist: str
    title: str


class OwnStyles(Sequence[Painting]):
    """Paintings of which each is a style of its own: nobody knows the painters, or there are far too many of them.

    A data module then has no ``artists``, and its batches show every painting once in a turn. There may be millions:
    an item is made when it is asked for.
    """

    named = False
    """Callbacks that need painters' names ask for this."""

    @abstractmethod
    def label(self, position: int) -> int:
        """Return a number; paintings that belong together, such as those of one project, have it in common."""


class ContentSource(ABC):
    """Lists photographs."""

    def prepare(self) -> None:  # noqa: B027  most sources have nothing to do
        """Download or generate what is missing; called in one process per machine."""

    @abstractmethod
    def contents(self, split: Split) -> Sequence[Content]:
        """List the photographs of a split in a fixed order; see `datamodules.records.Blocked` for how they may lie.

        Raises:
            ImpastoError: If there are none, with what to do about it.
        """


class StyleSource(ABC):
    """Lists paintings."""

    def prepare(self) -> None:  # noqa: B027  most sources have nothing to do
        """Download or generate what is missing; called in one process per machine."""

    @abstractmethod
    def paintings(self, split: Split) -> Sequence[Painting]:
        """List the paintings of a split in a fixed order.

        Raises:
            ImpastoError: If there are none, with what to do about it.
        """


class ImageFolder(ContentSource):
    """Every picture under a folder, at any depth: COCO's ``train2017``, Places365, your own photographs.

    A file that several paths lead to counts once; one that is also under ``val_root`` or ``test_root`` is not trained
    on, unless nothing would be left.

    Args:
        root: Training photographs.
        val_root: Validation photographs; without it, a fixed share of ``root`` is held out for validation.
        test_root: Test photographs; without it, the validation ones.
        holdout: Share of ``root`` that is held out when there is no ``val_root``, in [0, 1); chosen by a hash of the
            file names, so that it does not move when files are copied elsewhere. With 0, or a single picture,
            validation sees the training pictures.
        masks: Grey pictures, white where to paint, in the folders and under the names of the photographs that they
            belong to, with any suffix; for methods that paint regions.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        val_root: Path | str | None = None,
        test_root: Path | str | None = None,
        holdout: float = 0.02,
        masks: Path | str | None = None,
    ) -> None:
        self.root = Path(root)
        self.val_root = Path(val_root) if val_root is not None else None
        self.test_root = Path(test_root) if test_root is not None else self.val_root
        self.holdout = checked_share(holdout)
        self.masks = Path(masks) if masks is not None else None

    def contents(self, split: Split) -> list[Content]:
        """List the photographs of a split, sorted by path."""
        own_root = {"train": None, "val": self.val_root, "test": self.test_root}[split]
        if own_root is not None:
            return self._list(own_root)
        everything = self._own(self._list(self.root))
        if self.val_root is not None:
            return everything
        train, held_out = hold_out(everything, self.holdout)
        return train if split == "train" else held_out

    def _own(self, everything: list[Content]) -> list[Content]:
        """Leave out what the roots of other splits hold, too."""
        roots = [root for root in {self.val_root, self.test_root} if root is not None]
        others = {_own_identity(content.path) for root in roots for content in self._list(root)} - {None}
        return [item for item in everything if _own_identity(item.path) not in others] or everything

    def _list(self, root: Path) -> list[Content]:
        masks = {} if self.masks is None else {_key(path, self.masks): path for path in _masks(self.masks)}
        return [Content(path, _title(path), masks.get(_key(path, root))) for path in list_images(root)]


class WikiArt(StyleSource):
    """Paintings in one folder per artist: ``<root>/<artist>/<title>.<ext>``; other files are left out, with a note.

    Folders whose names differ in letter case, hyphens or accents' spelling alone are one artist's.

    Args:
        root: The folder of artists' folders, for example ``vincent-van-gogh/the-starry-night.jpg`` below it. Hyphens
            and underscores of a folder's name become spaces of the artist's name.
        min_paintings: Leave out artists with fewer paintings.
        artists: Take only these, by name or by folder name in any letter case; None takes all.
        holdout: Share of every artist's paintings held out for validation and test, in [0, 1), chosen by a hash of the
            file names; an artist with at least two paintings keeps at least one on either side.
        splits: Instead of that, a CSV file whose columns path and split say to which split a painting belongs, such as
            the ``pictures.csv`` that `impasto prepare wikiart` writes; paths are relative to ``root``. Paintings that
            are not in it are left out, and without a test split the validation one is tested on.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        min_paintings: int = 1,
        artists: Sequence[str] | None = None,
        holdout: float = HOLDOUT,
        splits: Path | str | None = None,
    ) -> None:
        self.root = Path(root)
        self.min_paintings = min_paintings
        self.artists = list(artists) if artists is not None else None
        self.holdout = checked_share(holdout)
        self.splits = Path(splits) if splits is not None else None

    def paintings(self, split: Split) -> list[Painting]:
        """List the paintings of a split, sorted by artist and title."""
        everyone = paintings_by_artist(self.root)
        chosen = choose_artists(everyone, self.artists, self.min_paintings, self.root)
        if not chosen:
            raise ImpastoError(
                f"No artist under {self.root} has {self.min_paintings} paintings: lower min_paintings, or check that "
                f"they lie in {self.root}/<artist>/<title>.jpg."
            )
        if self.splits is not None:
            works = [work for artist in sorted(chosen) for work in chosen[artist]]
            return in_split(works, split, self.splits, self.root)
        return split_by_artist(chosen, split, self.holdout)


class FewPaintings(StyleSource):
    """Another source of which some artists lose most of their training paintings, to study artists with few works.

    Validation and test stay whole, so that rare and frequent artists are measured on the same pictures.

    Args:
        source: The paintings.
        keep: Number of training paintings by artist, first ones by title; artists not named keep theirs.

    Raises:
        ImpastoError: If an artist is not in the source, or would keep none.
    """

    def __init__(self, source: StyleSource, keep: dict[str, int]) -> None:
        self.source = source
        self.keep = keep

    def prepare(self) -> None:
        """Prepare the other source."""
        self.source.prepare()

    def paintings(self, split: Split) -> Sequence[Painting]:
        """List the paintings of a split, sorted by artist and title."""
        everything = self.source.paintings(split)
        keep = {artist_name(artist).casefold(): count for artist, count in self.keep.items()}
        known = {painting.artist.casefold() for painting in everything}
        if missing := [artist for artist in sorted(self.keep) if artist_name(artist).casefold() not in known]:
            raise ImpastoError(f"There are no paintings by {', '.join(missing)} to keep: check the names.")
        if min(keep.values(), default=1) < 1:
            raise ImpastoError(
                "Every artist in keep needs at least one painting: raise the number, or leave the name out."
            )
        if split != "train":
            return everything
        seen: Counter[str] = Counter()
        kept = []
        for painting in everything:
            artist = painting.artist.casefold()
            seen[artist] += 1
            if seen[artist] <= keep.get(artist, seen[artist]):
                kept.append(painting)
        return kept


class ProceduralArt(ContentSource, StyleSource):
    """The embedded data set: procedural painters that painted every content, so that the truth is known.

    Use the same arguments for contents and paintings; what the first one generated, the second one finds.

    Args:
        root: Where the pictures are, or will be generated.
        size: Side of the generated pictures, in pixels.
        contents_per_split: Number of contents of ``train``, ``val`` and ``test``; None takes the generator's own.
        seed: Seed of the generated pictures.
    """

    def __init__(
        self,
        root: Path | str = "data/procedural",
        *,
        size: int = 256,
        contents_per_split: dict[str, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.root = Path(root)
        self.size = size
        self.contents_per_split = contents_per_split
        self.seed = seed

    def prepare(self) -> None:
        """Generate the data set, unless the same one is there already."""
        from datamodules import procedural  # slow to load, and other sources do not need it

        procedural.generate(self.root, size=self.size, contents_per_split=self.contents_per_split, seed=self.seed)

    def contents(self, split: Split) -> list[Content]:
        """List the contents of a split, sorted by path."""
        return [Content(path, _title(path)) for path in list_images(self.root / split / "contents")]

    def paintings(self, split: Split) -> list[Painting]:
        """List the paintings of a split, sorted by artist and title."""
        by_artist = paintings_by_artist(self.root / split / "paintings")
        return [painting for artist in sorted(by_artist) for painting in by_artist[artist]]


def choose_artists(
    everyone: dict[str, list[Painting]], artists: Sequence[str] | None, min_paintings: int, root: Path
) -> dict[str, list[Painting]]:
    """Keep some artists: those named, if any are, with a least number of paintings.

    Raises:
        ImpastoError: If one that is named has none.
    """
    if artists is not None:
        wanted = {artist_name(artist).casefold(): artist for artist in artists}
        known = {artist.casefold() for artist in everyone}
        if missing := [artist for key, artist in wanted.items() if key not in known]:
            raise ImpastoError(f"No paintings by {', '.join(missing)} under {root}: check the artists' names.")
        everyone = {artist: works for artist, works in everyone.items() if artist.casefold() in wanted}
    return {artist: works for artist, works in everyone.items() if len(works) >= min_paintings}


def split_by_artist(by_artist: dict[str, list[Painting]], split: Split, holdout: float) -> list[Painting]:
    """List a split's paintings, a share of every artist's being held out of training."""
    listed: list[Painting] = []
    for artist in sorted(by_artist):
        train, held_out = hold_out(by_artist[artist], holdout)
        listed += train if split == "train" else held_out
    return listed


def artist_name(folder: str) -> str:
    """Turn a folder's name into the name that prompts use.

    Examples:
        >>> artist_name("vincent-van-gogh")
        'vincent van gogh'
    """
    return " ".join(re.split(r"[-_\s]+", shown(composed(folder)))).strip()


def paintings_by_artist(root: Path) -> dict[str, list[Painting]]:
    """List ``<root>/<artist>/<title>.<ext>`` by artist's name, paintings sorted by path, every file once.

    Where names differ in letter case alone, they are one artist, under the spelling that has most paintings.

    Raises:
        ImpastoError: If the folder is missing, or no folder in it holds a picture.
    """
    if not root.is_dir():
        raise ImpastoError(f"The folder of paintings {root} does not exist: check the path, or prepare the data first.")
    listed = list_files(root, lambda path: is_image_name(path.name))
    works = [path for path in listed if path.parent.parent == root]
    note_left_out(root, [path for path in listed if path.parent.parent != root], reason="not in an artist's folder")
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for path in works:
        name = artist_name(path.parent.name)
        spellings[name.casefold()][name] += 1
    by_artist: dict[str, list[Painting]] = {}
    for path in works:
        names = spellings[artist_name(path.parent.name).casefold()]
        artist = min(names, key=lambda name: (-names[name], name))
        by_artist.setdefault(artist, []).append(Painting(path, artist, _title(path)))
    for names in spellings.values():
        if len(names) > 1:
            note(f"{root}: {' and '.join(sorted(names))} differ in letter case alone and are taken for one artist.")
    if not by_artist:
        raise ImpastoError(f"No paintings under {root}: it should hold one folder per artist, <artist>/<title>.jpg.")
    return by_artist


def _title(path: Path) -> str:
    return composed(path.stem)


def _own_identity(path: Stored) -> Hashable:
    """Return what is equal for one file under several names; None for a record, and where there is nothing."""
    return identity(path) if isinstance(path, Path) and path.exists() else None


def _masks(folder: Path) -> list[Path]:
    return list_images(folder, aliases=True)  # they are searched by name, and one mask may serve several contents


def _key(path: Path, root: Path) -> str:
    return composed(path.relative_to(root).with_suffix("").as_posix())
