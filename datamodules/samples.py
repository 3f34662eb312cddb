"""Data sets of samples: endless random ones for training, a fixed list of pairs for evaluation."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from torch.utils.data import Dataset

from datamodules.batches import AUGMENTATION, Draw, Sample
from datamodules.pictures import PictureStore, Pixels, centre_crop, random_crop
from datamodules.records import Stored
from datamodules.sources import Content, OwnStyles, Painting
from lightning_modules.errors import ImpastoError

Item = TypeVar("Item")


class Crop(NamedTuple):
    """How training pictures are cut: see :func:`datamodules.pictures.random_crop`."""

    size: int
    resize: int | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    flip: bool = True


class TrainingSamples(Dataset[Sample]):
    """Turns a draw into pictures: the content, and two different paintings by the artist where there are two.

    An unreadable content is replaced by the next one, an unreadable painting by another of the same artist; the same
    draw gives the same sample in every process.

    Args:
        contents: Photographs.
        paintings: Paintings of all artists.
        works: Positions in ``paintings``, by artist.
        artists: Names.
        crop: How to cut contents and paintings.
        seed: Of the augmentation, non-negative.
        views: Number of further crops of the style picture in every sample.
    """

    def __init__(
        self,
        contents: PictureStore,
        paintings: PictureStore,
        works: Sequence[Sequence[int]],
        artists: Sequence[str],
        *,
        crop: Crop,
        seed: int,
        views: int = 0,
    ) -> None:
        self.contents = contents
        self.paintings = paintings
        self.works = works
        self.artists = artists
        self.crop = crop
        self.seed = seed
        self.views = views

    def __getitem__(self, draw: Draw) -> Sample:
        """Build one sample.

        Raises:
            ImpastoError: If no content, or no painting by anyone, can be read.
        """
        rng = np.random.default_rng([self.seed, AUGMENTATION, draw.position])
        content = self._content(draw.content)
        artist, prompt, style, reference = self._two_paintings(draw.artist, rng)
        return Sample(
            content=self._cut(content, rng),
            style=self._cut(style, rng),
            artist=artist,
            prompt=prompt,
            number=draw.position,
            reference=self._cut(reference, rng),
            # Last: their number changes nothing of what was drawn before.
            views=np.stack([self._cut(style, rng) for _ in range(self.views)]) if self.views else None,
        )

    def _content(self, wanted: int) -> Pixels:
        found = _readable(
            self.contents, ((wanted + step) % len(self.contents) for step in range(len(self.contents))), 1
        )
        if not found:
            raise ImpastoError(f"None of the {len(self.contents)} contents can be read: check the files.")
        return found[0]

    def _two_paintings(self, wanted: int, rng: np.random.Generator) -> tuple[int, str, Pixels, Pixels]:
        for artist, prompt, works in self._candidates(wanted, rng):
            found = _readable(self.paintings, works, 2)
            if found:
                return artist, prompt, found[0], found[-1]
        raise ImpastoError(f"None of the {len(self.paintings)} paintings can be read: check the files.")

    def _candidates(self, wanted: int, rng: np.random.Generator) -> Iterator[tuple[int, str, Iterable[int]]]:
        """Yield the artist whose turn it is, and others in case that all paintings of that one are broken."""
        for step in range(len(self.artists)):
            artist = (wanted + step) % len(self.artists)
            works = self.works[artist]
            yield artist, self.artists[artist], (works[place] for place in rng.permutation(len(works)))

    def _cut(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        crop = self.crop
        return random_crop(pixels, crop.size, rng, resize=crop.resize, scale=crop.scale, flip=crop.flip)


class OwnStyleSamples(TrainingSamples):
    """The same, where a draw names a painting, and every painting is a style of its own.

    The other painting is the same one, cut anew: a second one would take as long to read as the first. An unreadable
    painting is replaced by the next one.

    Args:
        contents: Photographs.
        paintings: Paintings.
        styles: What is known of each.
        crop: How to cut contents and paintings.
        seed: Of the augmentation, non-negative.
        views: Number of further crops of the style picture in every sample.
    """

    def __init__(
        self, contents: PictureStore, paintings: PictureStore, styles: OwnStyles, *, crop: Crop, seed: int, views: int
    ) -> None:
        super().__init__(contents, paintings, (), (), crop=crop, seed=seed, views=views)
        self.styles = styles

    def _candidates(self, wanted: int, rng: np.random.Generator) -> Iterator[tuple[int, str, Iterable[int]]]:  # noqa: ARG002  nothing to draw
        for step in range(len(self.styles)):
            position = (wanted + step) % len(self.styles)
            yield self.styles.label(position), self.styles[position].artist, (position,)


class Pair(NamedTuple):
    """A content to be painted by an artist, after a painting of another content.

    Attributes:
        content: The photograph.
        artist: Label.
        style: The painting.
        truth: The wanted picture, where it is known.
        mask: A grey picture as large as the content, white where to paint; None paints everywhere.
    """

    content: Stored
    artist: int
    style: Stored
    truth: Stored | None = None
    mask: Stored | None = None

    @property
    def files(self) -> list[Stored]:
        """All files that the pair needs."""
        return [path for path in (self.content, self.style, self.truth, self.mask) if path is not None]


class EvaluationSamples(Dataset[Sample]):
    """The fixed pairs of a split; an unreadable one is replaced by the next, whose index it then repeats.

    Args:
        pairs: What :func:`evaluation_pairs` returns.
        artists: Names.
        size: Side of the centre crops, in pixels.
        keep: Keep pictures in memory.
    """

    def __init__(self, pairs: Sequence[Pair], artists: Sequence[str], *, size: int, keep: bool = False) -> None:
        self.pairs = list(pairs)
        self.artists = artists
        self.size = size
        paths = sorted({path for pair in pairs for path in pair.files}, key=str)
        self._number = {path: number for number, path in enumerate(paths)}
        self.pictures = PictureStore(paths, short_side=size, keep=keep)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Build one sample.

        Raises:
            ImpastoError: If no pair can be read.
        """
        for step in range(len(self)):
            sample = self._sample((index + step) % len(self))
            if sample is not None:
                return sample
        raise ImpastoError(f"None of the {len(self)} evaluation pairs can be read: check the files.")

    def _sample(self, index: int) -> Sample | None:
        pair = self.pairs[index]
        found = {path: self._picture(path) for path in pair.files}
        readable = {path: picture for path, picture in found.items() if picture is not None}
        if len(readable) < len(found):
            return None
        return Sample(
            content=readable[pair.content],
            style=readable[pair.style],
            artist=pair.artist,
            prompt=self.artists[pair.artist],
            number=index,
            truth=None if pair.truth is None else readable[pair.truth],
            mask=None if pair.mask is None else readable[pair.mask][..., :1],
        )

    def _picture(self, path: Stored) -> Pixels | None:
        pixels = self.pictures.get(self._number[path])
        return None if pixels is None else centre_crop(pixels, self.size)


def evaluation_pairs(
    contents: Sequence[Content],
    paintings: Sequence[Painting],
    spare: Sequence[Painting],
    artists: Sequence[str],
    *,
    pairs_per_content: int | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Pair contents with artists, the same way in every run.

    Args:
        contents: The split's contents.
        paintings: The split's paintings.
        spare: Paintings to fall back on for an artist who has none in the split that shows another content.
        artists: Names; the positions are the labels. Paintings by others are left out.
        pairs_per_content: Artists per content, taken in turn so that all are covered; None takes every artist.
        seed: Of the choice of the style paintings, non-negative.

    Returns:
        Pairs, content by content. ``style`` never has the content's title; ``truth`` is the artist's painting of that
        title, given only if every pair has one; so is ``mask``, the content's region.
    """
    own, others = _by_artist(paintings), _by_artist(spare)
    per_content = min(pairs_per_content or len(artists), len(artists))
    pairs = []
    for number, content in enumerate(contents):
        for turn in range(number * per_content, (number + 1) * per_content):
            name = artists[turn % len(artists)]
            candidates = _of_other_contents(own[name], content) or _of_other_contents(others[name], content)
            if candidates:
                style = candidates[int(np.random.default_rng([seed, turn]).integers(len(candidates)))]
                truth = next((work.path for work in own[name] if work.title == content.title), None)
                pairs.append(Pair(content.path, turn % len(artists), style.path, truth, content.mask))
    if any(pair.truth is None for pair in pairs):
        pairs = [pair._replace(truth=None) for pair in pairs]
    if any(pair.mask is None for pair in pairs):
        pairs = [pair._replace(mask=None) for pair in pairs]
    return pairs


def own_style_pairs(
    contents: Sequence[Content], paintings: Sequence[Painting], *, pairs_per_content: int | None = None
) -> list[Pair]:
    """Pair contents with paintings of which each is a style of its own, taken in turn.

    Args:
        contents: The split's contents.
        paintings: The split's paintings; a position in them is a label.
        pairs_per_content: None takes every painting.
    """
    per_content = min(pairs_per_content or len(paintings), len(paintings))
    turns = ((content, turn % len(paintings)) for turn, content in enumerate(_repeated(contents, per_content)))
    return [Pair(content.path, label, paintings[label].path) for content, label in turns]


def _repeated(contents: Sequence[Content], times: int) -> Iterator[Content]:
    return (content for content in contents for _ in range(times))


def spread(items: Sequence[Item], count: int | None) -> list[Item]:
    """Take some items, as far apart from each other as there are; None takes all."""
    if count is None or count >= len(items):
        return list(items)
    return [items[int(position)] for position in np.linspace(0, len(items) - 1, count).round()]


def _of_other_contents(works: Sequence[Painting], content: Content) -> list[Painting]:
    return [work for work in works if work.title != content.title]


def _by_artist(paintings: Sequence[Painting]) -> dict[str, list[Painting]]:
    grouped: dict[str, list[Painting]] = defaultdict(list)
    for painting in paintings:
        grouped[painting.artist].append(painting)
    return grouped


def _readable(store: PictureStore, candidates: Iterable[int], count: int) -> list[Pixels]:
    found: list[Pixels] = []
    for candidate in candidates:
        pixels = store.get(candidate)
        if pixels is not None:
            found.append(pixels)
        if len(found) == count:
            break
    return found
