"""Paintings and who painted them: the data of an artist classifier."""

import hashlib
from typing import Any

from datamodules.pictures import PictureStore
from datamodules.samples import EvaluationSamples, Pair, TrainingSamples
from datamodules.sources import Content, ContentSource, Split, StyleSource
from datamodules.style_transfer import StyleTransferDataModule
from lightning_modules.paths import composed


class ArtistDataModule(StyleTransferDataModule):
    """The paintings of a style source, split by painting; no photographs are needed.

    A training batch holds two paintings of every sample's artist, ``style`` and ``reference``; artists come equally
    often unless ``artist_power`` says else. Validation and test see every painting of their split once, as ``style``.
    ``content`` only keeps the batch whole and shows nothing of use.

    Args:
        style: Paintings.
        batches_per_epoch: Training batches between two validations.
        kwargs: As in `StyleTransferDataModule`.
    """

    def __init__(self, style: StyleSource, *, batches_per_epoch: int, **kwargs: Any) -> None:
        super().__init__(content=_FirstPainting(style), style=style, batches_per_epoch=batches_per_epoch, **kwargs)

    @property
    def split_hash(self) -> str:
        """Return a fingerprint of the validation split, by artists and file names: what must never be trained on."""
        names = sorted(f"{pair.style.parent.name}/{pair.style.name}" for pair in self._evaluation["val"].pairs)
        return hashlib.sha256(composed("\n".join(names)).encode("utf-8", "surrogateescape")).hexdigest()

    def _training_samples(self) -> TrainingSamples:
        samples = super()._training_samples()
        samples.contents = PictureStore(samples.contents.paths, short_side=self.crop.size, keep=True)
        samples.contents.read_all()  # decoded once, and for all workers
        return samples

    def _evaluation_samples(self, split: Split) -> EvaluationSamples:
        label = {name: number for number, name in enumerate(self.artists)}
        works = [painting for painting in self.style.paintings(split) if painting.artist in label]
        pairs = [Pair(work.path, label[work.artist], work.path, None) for work in works]
        return EvaluationSamples(pairs, self.artists, size=self.val_size, keep=self.cache_in_memory)


class _FirstPainting(ContentSource):
    """Stands where photographs would be."""

    def __init__(self, style: StyleSource) -> None:
        self.style = style

    def contents(self, split: Split) -> list[Content]:
        """List the first painting that can be read; where there is none, all, for the module to complain of."""
        works = self.style.paintings(split)
        first = PictureStore([work.path for work in works]).first_readable()
        return [Content(work.path, work.title) for work in (works if first is None else [works[first]])]
