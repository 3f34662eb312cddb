import shutil
import warnings

import numpy as np
import pytest
import torch

from datamodules.artists import ArtistDataModule
from datamodules.images import read_shrunk
from datamodules.pictures import UnreadablePictureWarning
from datamodules.sources import ProceduralArt, WikiArt
from lightning_modules.errors import ImpastoError


class _Prepared(ProceduralArt):
    """Reads ProceduralArt's layout where somebody else has made it."""

    def prepare(self):
        pass


def ready(source, **changes):
    options = {
        "size": 16,
        "val_size": 40,
        "batch_size": 3,
        "artists_per_batch": 3,
        "batches_per_epoch": 4,
        "workers": 0,
    }
    data = ArtistDataModule(source, **options | changes)
    data.setup("fit")
    return data


def painter(pictures):
    """The artist that painted a picture of the gallery: 60 levels of green apart."""
    return (pictures[:, 1].amax((1, 2)) * 255 / 60).floor().long()


def test_both_pictures_of_a_training_sample_are_by_its_artist(gallery):
    data = ready(_Prepared(gallery))
    batches = list(data.train_dataloader())
    assert len(batches) == 4
    for batch in batches:
        assert batch.artist.sort().values.tolist() == [0, 1, 2]  # all equally often
        assert torch.equal(painter(batch.style), batch.artist)
        assert torch.equal(painter(batch.reference), batch.artist)


def test_validation_sees_every_held_out_painting_once(gallery):
    data = ready(_Prepared(gallery))
    batches = list(data.val_dataloader())
    pictures, labels = torch.cat([b.style for b in batches]), torch.cat([b.artist for b in batches])
    assert torch.cat([b.index for b in batches]).tolist() == list(range(9))
    assert labels.bincount().tolist() == [3, 3, 3]
    assert torch.equal(painter(pictures), labels)
    assert len(pictures.flatten(1).unique(dim=0)) == 9


def test_a_painting_is_on_one_side_only_and_the_hash_tells_the_split(gallery):
    root = gallery / "train" / "paintings"
    data = ready(WikiArt(root, holdout=0.3))
    held_out = {pair.style for pair in data.val_dataloader().dataset.pairs}
    trained = {painting.path for painting in data.style.paintings("train")}
    assert held_out.isdisjoint(trained)
    assert len(held_out) + len(trained) == 30
    assert data.split_hash == ready(WikiArt(root, holdout=0.3)).split_hash
    assert data.split_hash != ready(WikiArt(root, holdout=0.1)).split_hash


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_decides_the_batches(gallery, seed):
    one, other = (next(iter(ready(_Prepared(gallery), seed=s).train_dataloader())) for s in (0, seed))
    assert torch.equal(one.style, other.style) == (seed == 0)


@pytest.fixture
def own_paintings(gallery, tmp_path):
    """Return a source of paintings that a test may damage, and the paths of its training split."""
    source = WikiArt(shutil.copytree(gallery / "train" / "paintings", tmp_path / "own"), holdout=0.3)
    return source, [painting.path for painting in source.paintings("train")]


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"cache_in_memory": True}])
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_the_first_painting_that_can_be_read_stands_where_photographs_would_be(own_paintings, broken, options):
    source, paths = own_paintings
    for path in paths[:broken]:
        path.write_bytes(path.read_bytes()[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreadablePictureWarning)
        data = ready(source, **options)
        batches = list(data.train_dataloader())
        assert sum(len(batch.style) for batch in data.val_dataloader()) == 9
    contents = data.train_dataloader()._loader.dataset.contents
    assert list(contents.paths) == [paths[broken]]
    assert np.array_equal(contents.get(0), read_shrunk(paths[broken], 16))
    assert len(batches) == 4
    assert data.unreadable == broken


def test_the_stand_in_is_read_once(own_paintings):
    source, paths = own_paintings
    wanted, data = ready(source).train_dataloader(), ready(source)
    expected = torch.cat([batch.content for batch in wanted])
    paths[0].write_bytes(paths[-1].read_bytes())
    assert torch.equal(torch.cat([batch.content for batch in data.train_dataloader()]), expected)


def test_paintings_that_cannot_be_read_at_all_are_one_sentence(own_paintings):
    source, paths = own_paintings
    for path in paths:
        path.write_text("not a picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreadablePictureWarning)
        with pytest.raises(ImpastoError, match=f"None of the {len(paths)} pictures"):
            ready(source)
