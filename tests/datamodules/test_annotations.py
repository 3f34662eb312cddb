"""Batches of annotated pictures: half and half, the same for any number of ranks, and continued where they were."""

import pytest
import torch
from PIL import Image

from datamodules.annotation_sources import AnnotatedFolders
from datamodules.annotations import AnnotationDataModule, BalancedBatches, read_square
from lightning_modules.errors import ImpastoError


@pytest.fixture
def folder(tmp_path):
    for kind, colour in (("stylistic", (255, 0, 0)), ("plain", (0, 0, 255))):
        for number in range(5):
            place = tmp_path / kind / f"{kind} {number}"
            place.mkdir(parents=True)
            for title in range(1 + number):
                Image.new("RGB", (20, 30), colour).save(place / f"{title}.png")
    return tmp_path


def data(folder, **changes):
    options = {"size": 16, "batch_size": 4, "batches_per_epoch": 3}
    return AnnotationDataModule(AnnotatedFolders(folder, holdout=0.2), **options | changes)


def test_half_of_every_batch_is_stylistic_and_numbers_lead_to_pictures(folder):
    module = data(folder)
    module.setup("fit")
    batches = list(module.train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        assert batch.label.tolist() == [1, 1, 0, 0]
        for number, label, artist in zip(
            batch.picture.tolist(), batch.label.tolist(), batch.artist.tolist(), strict=True
        ):
            assert module.pictures[number][:, 0, 0].tolist() == ([1, 0, 0] if label else [0, 0, 1])
            assert module.annotations[number].group == module.artists[artist]


def test_training_and_validation_share_no_picture(folder):
    module = data(folder)
    module.setup("fit")
    train = {number for batch in module.train_dataloader() for number in batch.picture.tolist()}
    (val,) = list(module.val_dataloader())
    assert not train & set(val.picture.tolist())
    assert {module.path(place, "val") for place in val.index.tolist()} == {
        module.annotations[number].path for number in val.picture.tolist()
    }


def test_no_item_comes_twice_before_all_were_seen():
    kinds = [list(range(7)), list(range(10, 13))]
    batches = BalancedBatches(kinds, batch_size=2, batches_per_epoch=21, seed=3)
    drawn = list(batches)
    assert [len(set(column)) for column in (d[0] for d in [list(zip(*drawn[:7], strict=True))])] == [7]
    for start in range(0, 21, 3):
        assert {second for _, second in drawn[start : start + 3]} == {10, 11, 12}
    assert [d[0] for d in drawn[:7]] != [d[0] for d in drawn[7:14]]


def test_ranks_share_the_batches_of_one_process():
    kinds = [list(range(9)), list(range(20, 25))]

    def stream(rank, world):
        return BalancedBatches(kinds, batch_size=8, batches_per_epoch=1, seed=1, rank=rank, world_size=world)

    alone = stream(0, 1)
    for number in range(5):
        shared = [item for rank in (0, 1) for item in stream(rank, 2).batch(number)]
        assert sorted(shared) == sorted(alone.batch(number))
    with pytest.raises(ImpastoError, match="does not divide"):
        stream(0, 3)


def test_a_checkpoint_continues_at_the_next_batch(folder):
    module = data(folder)
    module.setup("fit")
    straight = module.train_dataloader()
    everything = [batch.picture.tolist() for _ in range(2) for batch in straight]
    loader = module.train_dataloader()
    stream = iter(loader)
    for _ in range(2):
        next(stream)
    resumed = module.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    assert [batch.picture.tolist() for _ in range(2) for batch in resumed] == everything[2:]


def test_the_pool_has_no_labels_and_must_be_given(folder):
    module = data(folder, pool=folder / "plain")
    module.setup("predict")
    (batch,) = list(module.predict_dataloader())
    assert bool(batch.label.isnan().all())
    assert len(batch.picture) == 15
    with pytest.raises(ImpastoError, match=r"data\.pool"):
        data(folder).setup("predict")


def test_hashes_follow_the_bytes_and_not_the_names(folder):
    module = data(folder)
    module.setup("fit")
    red = {module.hashes[n] for n, each in enumerate(module.annotations) if each.stylistic}
    blue = {module.hashes[n] for n, each in enumerate(module.annotations) if not each.stylistic}
    assert len(red) == len(blue) == 1
    assert red != blue


def test_a_picture_that_cannot_be_read_is_none_and_noted(folder, caplog):
    broken = folder / "plain" / "plain 0" / "0.png"
    broken.write_bytes(b"no picture")
    module = data(folder)
    module.setup(None)
    number = next(n for n, each in enumerate(module.annotations) if each.path == broken)
    assert module.pictures[number] is None
    assert str(broken) in caplog.text


def test_the_square_is_the_middle(tmp_path):
    picture = Image.new("RGB", (30, 10), (0, 0, 0))
    picture.paste((255, 255, 255), (10, 0, 20, 10))
    picture.save(tmp_path / "a.png")
    assert torch.from_numpy(read_square(tmp_path / "a.png", 10).copy()).min() == 255


def test_an_odd_batch_and_a_kind_without_pictures_are_refused(folder):
    with pytest.raises(ImpastoError, match="must be even"):
        data(folder, batch_size=3)
