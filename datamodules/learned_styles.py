"""Where the styles come from that a text-to-image method learns: pictures with captions, and negatives beside them."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from datamodules.captions import Captioned, list_captioned, require_captions
from datamodules.records import Stored
from datamodules.sources import Painting, ProceduralArt, Split, artist_name
from datamodules.splits import hold_out
from lightning_modules.errors import ImpastoError

NEGATIVES = "negatives"


class Example(NamedTuple):
    """A picture of a style.

    Attributes:
        path: The file, or the record in one.
        key: Its name, without suffix.
        caption: What it shows.
        negative: The same shown without the style; in training only.
    """

    path: Stored
    key: str
    caption: str
    negative: Path | None = None


class Wish(NamedTuple):
    """A negative to be drawn: its name without suffix, and what it is to show."""

    key: str
    caption: str


class NegativeMaker(Protocol):
    """Draws pictures by their captions without a style of their own."""

    def make(self, wishes: Sequence[Wish], folder: Path, *, afresh: bool = False) -> None:
        """Write ``<folder>/<key>.png`` for every wish that is not there yet.

        Args:
            wishes: What to draw.
            folder: Where; made where it is missing.
            afresh: Replace what was drawn with other settings, instead of refusing it.
        """


class TripletSource(ABC):
    """Lists the pictures of some styles with their captions.

    Attributes:
        captions: Who wrote them, for model cards.
    """

    captions: ClassVar[str] = ""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The styles' names."""

    @abstractmethod
    def prepare(self, maker: NegativeMaker | None) -> None:
        """Make what is missing; called in one process per machine.

        Args:
            maker: Draws negatives where they are missing; None draws none.
        """

    @abstractmethod
    def examples(self, style: str, split: Split) -> list[Example]:
        """List a style's pictures in a fixed order; those of the training split with their negatives.

        Raises:
            ImpastoError: If there are none, or one lacks its caption or its negative.
        """

    def paintings(self, split: Split) -> list[Painting]:
        """List the pictures of all styles as paintings by artists of these names."""
        return [Painting(item.path, name, item.key) for name in self.names for item in self.examples(name, split)]


class StyleFolders(TripletSource):
    """One folder of pictures for each style, with captions as `datamodules.captions.list_captioned` finds them.

    The negative of ``monet/a/b.jpg`` is ``monet-negatives/a/b.png``; where there is no such folder, it is
    ``negatives/a/b.png`` beside the folder ``monet``. `impasto prepare nsync` draws them.

    Args:
        roots: The folders, or the only one. A folder's name is the style's: hyphens and underscores become spaces.
        test_roots: Folders of held-out pictures with captions, one for each style; without them, a share of every
            style's pictures is held out. Validation and test take the same pictures.
        holdout: That share, in [0, 1), chosen by a hash of the file names.
        negatives: Folders of negatives, one for each style.

    Raises:
        ImpastoError: If two styles have one name, or there are not as many folders of one kind as of another.

    Source: NSYNC, section IV-A, for sets of held-out pictures; giddyyupp/NSYNC @2d20a62 for pairs by name.
    """

    captions: ClassVar[str] = "of the files or the table beside the pictures"

    def __init__(
        self,
        roots: Sequence[str] | str,
        *,
        test_roots: Sequence[str] | str | None = None,
        holdout: float = 0.1,
        negatives: Sequence[str] | str | None = None,
    ) -> None:
        folders = _folders(roots)
        if not 0 <= holdout < 1:
            raise ImpastoError(f"holdout is a share in [0, 1), got {holdout}: 0.1 holds one in ten pictures out.")
        self._roots = {artist_name(folder.absolute().name): folder for folder in folders}
        if not folders or len(self._roots) < len(folders):
            raise ImpastoError("Every style needs a folder of its own, and a name of its own: rename the folders.")
        self.holdout = holdout
        self._tests = self._by_style(test_roots, "test_roots")
        self._negatives = self._by_style(negatives, "negatives")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the folders."""
        return tuple(self._roots)

    def prepare(self, maker: NegativeMaker | None) -> None:
        """Draw the negatives that are missing."""
        for name in self.names:
            listed = self._training(name)
            if maker is not None and _missing(listed):
                maker.make([Wish(item.key, item.caption) for item in listed], self._negative_folder(name))

    def examples(self, style: str, split: Split) -> list[Example]:
        """List a style's pictures, sorted by path."""
        if split == "train":
            return _with_negatives(self._training(style), f"run `impasto prepare nsync --images {self._roots[style]}`")
        if style in self._tests:
            return [Example(*picture) for picture in _captioned(self._tests[style])]
        return [Example(*picture) for picture in self._split(style)[1]]

    def _training(self, style: str) -> list[Example]:
        folder = self._negative_folder(style)
        return [Example(*picture, folder / f"{picture.key}.png") for picture in self._split(style)[0]]

    def _split(self, style: str) -> tuple[list[Captioned], list[Captioned]]:
        everything = _captioned(self._roots[style])
        return (everything, []) if style in self._tests else hold_out(everything, self.holdout)

    def _negative_folder(self, style: str) -> Path:
        return self._negatives[style] if style in self._negatives else _found_negatives(self._roots[style])

    def _by_style(self, roots: Sequence[str] | str | None, what: str) -> dict[str, Path]:
        if roots is None:
            return {}
        folders = _folders(roots)
        if len(folders) != len(self._roots):
            raise ImpastoError(
                f"There are {len(self._roots)} styles and {len(folders)} folders of {what}: give each one."
            )
        return dict(zip(self._roots, folders, strict=True))


class ProceduralPainters(TripletSource):
    """Painters of ProceduralArt as styles to learn: they painted the contents of all splits, whose captions are known.

    All painters share their contents and therefore their negatives, ``<root>/negatives/<title>.png``.

    Args:
        painters: Their names.
        root: Where the pictures are, or will be generated.
        size: Side of the generated pictures, in pixels.
        contents_per_split: Number of contents of ``train``, ``val`` and ``test``; None takes the generator's own.
        seed: Of the generated pictures.
    """

    captions: ClassVar[str] = "what ProceduralArt's contents show"

    def __init__(
        self,
        painters: Sequence[str],
        *,
        root: str = "data/procedural-styles",
        size: int = 64,
        contents_per_split: dict[str, int] | None = None,
        seed: int = 0,
    ) -> None:
        if not painters or len(set(painters)) < len(painters):
            raise ImpastoError(
                f"ProceduralPainters needs some painters, each once, not {', '.join(painters) or 'none'}."
            )
        self._painters = tuple(painters)
        self.art = ProceduralArt(root, size=size, contents_per_split=contents_per_split, seed=seed)

    @property
    def names(self) -> tuple[str, ...]:
        """The painters."""
        return self._painters

    def prepare(self, maker: NegativeMaker | None) -> None:
        """Paint what is missing, and draw its negatives."""
        self.art.prepare()
        if maker is not None:
            wishes = [Wish(item.key, item.caption) for item in self._listed(self.names[0], "train")]
            maker.make(wishes, self.art.root / NEGATIVES, afresh=True)  # as ProceduralArt does with its own pictures

    def examples(self, style: str, split: Split) -> list[Example]:
        """List a painter's pictures, sorted by title."""
        listed = self._listed(style, split)
        if split != "train":
            return listed
        paired = [item._replace(negative=self.art.root / NEGATIVES / f"{item.key}.png") for item in listed]
        return _with_negatives(paired, "set data.negatives to something that draws them")

    def _listed(self, painter: str, split: Split) -> list[Example]:
        from datamodules.procedural.captions import caption  # slow to load, and other sources do without

        works = [work for work in self.art.paintings(split) if work.artist.casefold() == painter.casefold()]
        if not works:
            raise ImpastoError(f"ProceduralArt has no painter {painter}: `impasto prepare procedural` names them.")
        with (self.art.root / split / "contents.csv").open(newline="", encoding="utf-8") as file:
            shown = {Path(row["file"]).stem: caption(row["caption"]) for row in csv.DictReader(file)}
        return [Example(work.path, work.title, shown[work.title]) for work in works]


def negative_folder(images: Path) -> Path:
    """Return where the negatives of a folder of pictures belong: beside it, under its own name."""
    named = images if images.name else images.absolute()
    return named.with_name(f"{named.name}-{NEGATIVES}")


def _found_negatives(images: Path) -> Path:
    """Return the same, or the folder of the public code's layout where there is only that."""
    own = negative_folder(images)
    shared = own.with_name(NEGATIVES)
    return shared if shared.is_dir() and not own.is_dir() else own


def _captioned(folder: Path) -> list[Captioned]:
    pictures = list_captioned(folder)
    require_captions(pictures)
    return pictures


def _with_negatives(examples: list[Example], remedy: str) -> list[Example]:
    missing = _missing(examples)
    if missing:
        raise ImpastoError(
            f"{len(missing)} of {len(examples)} pictures have no negative, first {missing[0]}: {remedy}."
        )
    return examples


def _missing(examples: list[Example]) -> list[Path]:
    return [item.negative for item in examples if item.negative is not None and not item.negative.is_file()]


def _folders(roots: Sequence[str] | str) -> list[Path]:
    return [Path(root) for root in ([roots] if isinstance(roots, str) else roots)]
