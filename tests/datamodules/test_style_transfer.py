import shutil
import warnings
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.pictures import UnreadablePictureWarning
from datamodules.sources import ImageFolder, ProceduralArt, WikiArt
from datamodules.style_transfer import ProceduralArtDataModule, StyleTransferDataModule
from lightning_modules.errors import ImpastoError


class _Prepared(ProceduralArt):
    """Reads ProceduralArt's layout where somebody else has made it."""

    def prepare(self):
        pass


def _module(root, **changes):
    art = _Prepared(root)
    options = {"size": 16, "batch_size": 4, "artists_per_batch": 2, "workers": 0, "batches_per_epoch": 4} | changes
    return StyleTransferDataModule(art, art, **options)


def _ready(root, stage="fit", **changes):
    module = _module(root, **changes)
    module.setup(stage)
    return module


def _artist_of(pictures):
    """The artist that painted a picture of the gallery: 60 levels of green apart."""
    return (pictures[:, 1].amax((1, 2)) * 255 / 60).floor().long()


def test_training_batches_hold_two_paintings_of_each_artist(gallery):
    module = _ready(gallery)
    assert module.artists == ("Artist A", "Artist B", "Artist C")
    for batch in module.train_dataloader():
        assert batch.content.shape == batch.style.shape == batch.reference.shape == (4, 3, 16, 16)
        assert batch.truth is None
        assert batch.prompt == [module.artists[artist] for artist in batch.artist]
        assert torch.equal(_artist_of(batch.style), batch.artist)
        assert torch.equal(_artist_of(batch.reference), batch.artist)
        assert (batch.style[:, 1, 0, 0] != batch.reference[:, 1, 0, 0]).all()
        assert batch.artist[0] == batch.artist[1] != batch.artist[2] == batch.artist[3]


def test_an_artist_of_one_painting_is_reference_to_itself(gallery, tmp_path):
    for artist in "AB":
        (tmp_path / artist).mkdir()
        shutil.copy(gallery / "train" / "paintings" / f"Artist {artist}" / "train3.png", tmp_path / artist)
    source = ImageFolder(gallery / "train" / "contents")
    module = StyleTransferDataModule(source, WikiArt(tmp_path), size=16, batch_size=2, artists_per_batch=2, workers=0)
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert torch.equal(batch.style[:, 1, 0, 0], batch.reference[:, 1, 0, 0])
    assert len(next(iter(module.val_dataloader())).prompt) == 2  # falls back on the training painting


@pytest.mark.parametrize("options", [{"workers": 2}, {"cache_in_memory": True}])
def test_workers_and_memory_change_nothing(gallery, options):
    plain, other = (_ready(gallery, **changes).train_dataloader() for changes in ({}, options))
    for _ in range(2):
        for one, two in zip(plain, other, strict=True):
            assert torch.equal(one.content, two.content)
            assert torch.equal(one.style, two.style)
            assert torch.equal(one.reference, two.reference)
            assert torch.equal(one.index, two.index)


def test_an_epoch_shows_every_content_about_once(gallery):
    assert len(_ready(gallery, batches_per_epoch=None).train_dataloader()) == 2
    assert len(_ready(gallery, batches_per_epoch=None, batch_size=40).train_dataloader()) == 1


def test_validation_pairs_every_content_with_every_artist(gallery):
    module = _ready(gallery)
    batches = list(module.val_dataloader())
    index, artist = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("index", "artist"))
    content, style, truth = (
        torch.cat([getattr(batch, name) for batch in batches]) for name in ("content", "style", "truth")
    )
    assert index.tolist() == list(range(9))
    assert artist.tolist() == [0, 1, 2] * 3
    assert torch.equal(truth[:, 2], content[:, 2])  # the same scene, the same crop
    assert torch.equal(_artist_of(truth), artist)
    assert torch.equal(_artist_of(style), artist)
    assert (style[:, 2] != content[:, 2]).all()  # never a painting of the content itself
    assert batches[0].reference is None


def test_validation_is_the_same_in_every_run(gallery):
    for one, two in zip(_ready(gallery).val_dataloader(), _ready(gallery, workers=1).val_dataloader(), strict=True):
        assert torch.equal(one.style, two.style)
        assert torch.equal(one.content, two.content)


def test_a_smaller_validation_still_covers_all_artists(gallery):
    module = _ready(gallery, val_contents=2, pairs_per_content=2, val_size=24)
    batch = next(iter(module.val_dataloader()))
    assert batch.artist.tolist() == [0, 1, 2, 0]
    assert batch.content.shape == (4, 3, 24, 24)
    assert (batch.content[:, 2].amax((1, 2)) * 255).round().tolist() == [0, 0, 40, 40]  # the first and the last


def test_the_test_split_is_another_one(gallery):
    module = _ready(gallery, "test")
    assert sum(len(batch.prompt) for batch in module.test_dataloader()) == 6
    with pytest.raises(ImpastoError, match="set up"):
        module.val_dataloader()
    with pytest.raises(ImpastoError, match="set up"):
        module.train_dataloader()


def test_unpaired_sources_have_no_truth(gallery):
    content = ImageFolder(gallery / "train" / "contents", val_root=gallery / "test" / "contents")
    module = StyleTransferDataModule(content, WikiArt(gallery / "train" / "paintings"), size=16, workers=0)
    module.setup("validate")
    assert next(iter(module.val_dataloader())).truth is None


@pytest.fixture
def damaged(gallery, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(gallery, root)
    for bad in ("train/contents/train0.png", "train/paintings/Artist A/train4.png", "val/contents/val1.png"):
        (root / bad).write_bytes((root / bad).read_bytes()[:60])
    return root


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 2}, {"cache_in_memory": True}])
def test_bad_files_are_skipped_and_counted(damaged, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreadablePictureWarning)
        module = _ready(damaged, batches_per_epoch=20, **options)
        train = [batch.content for batch in module.train_dataloader()]
        index = torch.cat([batch.index for batch in module.val_dataloader()])
        again = [batch.content for batch in _ready(damaged, batches_per_epoch=20).train_dataloader()]
    assert len(train) == 20
    assert torch.equal(torch.stack(train), torch.stack(again))
    assert index.tolist() == [0, 1, 2, 6, 6, 6, 6, 7, 8]  # a repeated index lets metrics count a pair once
    assert module.unreadable == 3
    with pytest.warns(UnreadablePictureWarning, match="Skipped 3 unreadable"):
        module.teardown("fit")


def test_artists_without_a_readable_painting_give_way(damaged):
    for path in (damaged / "train" / "paintings" / "Artist B").iterdir():
        path.write_text("not a picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreadablePictureWarning)
        module = _ready(damaged, batches_per_epoch=3)
        artists = torch.cat([batch.artist for batch in module.train_dataloader()])
    assert set(artists.tolist()) == {0, 2}


def test_nothing_readable_is_one_sentence(damaged):
    for path in (damaged / "train" / "contents").iterdir():
        path.write_text("not a picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreadablePictureWarning)
        with pytest.raises(ImpastoError, match="None of the 10 pictures"):
            _ready(damaged)


def test_impossible_sizes_are_explained(gallery):
    with pytest.raises(ImpastoError, match="resize"):
        _module(gallery, size=64, resize=32)


def test_procedural_preset_generates_once(tmp_path, gallery, monkeypatch):
    def generate(root, **_):
        shutil.copytree(gallery, root, dirs_exist_ok=True)
        return root

    monkeypatch.setattr("datamodules.procedural.generate", generate, raising=False)
    module = ProceduralArtDataModule(str(tmp_path / "art"), size=16, batch_size=4, artists_per_batch=2)
    module.prepare_data()
    module.setup("fit")
    assert next(iter(module.train_dataloader())).content.shape == (4, 3, 16, 16)


class _Recorder(LightningModule):
    """Notes what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, _):
        self.seen.append((batch.index.tolist(), float(batch.style.sum())))
        return self.weight * batch.style.mean()

    def validation_step(self, *_):
        return None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _fit(gallery, folder, *, steps, workers=0, resume=None, every=1, **options):
    model = _Recorder()
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=every, save_top_k=-1)
    trainer = Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        callbacks=[saver],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(model, datamodule=_module(gallery, workers=workers), ckpt_path=resume)
    return model.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"limit_train_batches": 3}, {"val_check_interval": 2}])
def test_a_checkpoint_continues_at_the_very_next_batch(gallery, tmp_path, options):
    whole = _fit(gallery, tmp_path / "whole", steps=11, **options)
    assert len({tuple(index) for index, _ in whole}) == 11
    for step in (1, 2, 3, 4, 6, 8):  # inside the first epoch, at its end, inside the second and at its end
        resume = tmp_path / "whole" / f"step={step}.ckpt"
        rest = _fit(gallery, tmp_path / f"rest{step}", steps=11, resume=resume, every=100, **options)
        assert rest == whole[step:], f"resumed after step {step}"


@pytest.mark.filterwarnings("ignore")
def test_resuming_with_other_workers_is_exact_too(gallery, tmp_path):
    whole = _fit(gallery, tmp_path / "whole", steps=7, workers=2)
    assert _fit(gallery, tmp_path / "rest", steps=7, resume=tmp_path / "whole" / "step=3.ckpt") == whole[3:]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_work(gallery, world_size):
    def read(rank, world_size):
        module = _ready(gallery, batch_size=6, artists_per_batch=world_size)
        module.trainer = SimpleNamespace(global_rank=rank, world_size=world_size)
        return list(module.train_dataloader()), list(module.val_dataloader())

    shares = [read(rank, world_size) for rank in range(world_size)]
    for batches in zip(*(train for train, _ in shares), strict=True):
        assert [len(batch.index) for batch in batches] == [6 // world_size] * world_size
    numbers = [number for train, _ in shares for batch in train for number in batch.index.tolist()]
    assert sorted(numbers) == list(range(6 * len(shares[0][0])))
    pairs = [[number for batch in evaluation for number in batch.index.tolist()] for _, evaluation in shares]
    assert set().union(*pairs) == set(range(9))
    assert len({len(share) for share in pairs}) == 1  # no rank waits for another; 9 pairs on 2 ranks repeat one
    assert sum(len(share) for share in pairs) == {2: 10, 3: 9}[world_size]


def test_a_run_goes_on_with_another_number_of_ranks(gallery):
    def rest(state, world_size):
        shares = []
        for rank in range(world_size):
            module = _ready(gallery, batch_size=6, artists_per_batch=3)
            module.trainer = SimpleNamespace(global_rank=rank, world_size=world_size)
            loader = module.train_dataloader()
            loader.load_state_dict(state)
            shares.append([batch.index.tolist() for batch in loader])
        return [[number for share in batch for number in share] for batch in zip(*shares, strict=True)]

    loader = _ready(gallery, batch_size=6, artists_per_batch=3).train_dataloader()
    next(iter(loader))
    expected = rest(loader.state_dict(), 1)
    assert expected[0] == list(range(6, 12))
    assert rest(loader.state_dict(), 3) == expected


@pytest.mark.parametrize(
    ("option", "value"), [("batch_size", 0), ("size", 7), ("val_size", 0), ("val_contents", 0), ("workers", -1)]
)
def test_what_nothing_can_train_on_is_one_sentence(gallery, option, value):
    with pytest.raises(ImpastoError, match=f"{option} is {value}, and must be at least"):
        _ready(gallery, **{option: value})
