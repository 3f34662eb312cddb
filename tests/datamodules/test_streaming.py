"""Training from shards: what ranks and workers read between them, and how a checkpoint continues."""

import os
import shutil
import socket
import warnings

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.pictures import UnreadablePictureWarning
from datamodules.shards import Shards
from datamodules.sources import ProceduralArt
from datamodules.style_transfer import StyleTransferDataModule

BATCHES = 6  # of 4 contents and 2 paintings, of which there are 24 and 12


class _Half(Shards):
    """The first twelve pictures as paintings."""

    def _listed(self, split):
        reader, numbers = super()._listed(split)
        return reader, numbers[:12]


def _module(root, workers=0, **changes):
    options = {"size": 16, "batch_size": 4, "artists_per_batch": 2, "flip": False, "style_views": 1} | changes
    return StyleTransferDataModule(Shards(root, holdout=0), _Half(root, holdout=0), workers=workers, **options)


class _Reader(LightningModule):
    """Notes which pictures it is shown: their grey level is 10 times their number."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, _):
        shown = [pictures[:, 0, 0, 0].mul(25.5).round().int().tolist() for pictures in (batch.content, batch.style)]
        self.seen.append((batch.index.tolist(), *shown, float(batch.style.sum())))
        return self.weight * batch.style.mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _fit(root, folder, *, steps, workers=0, resume=None, **options):
    model = _Reader()
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "use_distributed_sampler"), False)
    trainer = Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", callbacks=[saver], limit_val_batches=0, **quiet, **options
    )
    trainer.fit(model, datamodule=_module(root, workers), ckpt_path=resume)
    return model.seen


def _rank_main(rank, port, root, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    ranks = {"strategy": "ddp", "devices": 2}
    seen = {
        "whole": _fit(root, f"{folder}/whole", steps=2 * BATCHES, workers=2, **ranks),
        "rest": _fit(root, f"{folder}/rest", steps=12, workers=1, resume=f"{folder}/whole/step=4.ckpt", **ranks),
        "from one": _fit(root, f"{folder}/more", steps=8, resume=f"{folder}/one/step=3.ckpt", **ranks),
    }
    torch.save(seen, f"{folder}/{rank}.pt")


def _joined(batches):
    """Put the shares of two ranks together as one process would have read them."""
    return [(*(one + other for one, other in zip(*pair, strict=True)),)[:3] for pair in zip(*batches, strict=True)]


@pytest.fixture(scope="module")
def fits(shards, tmp_path_factory, run_ranks):
    """A run on two ranks with two workers each, its continuation, one of another number of ranks, and one process."""
    folder = tmp_path_factory.mktemp("fits")
    alone = _fit(shards, folder / "one", steps=2 * BATCHES)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run_ranks(_rank_main, port, str(shards), str(folder))
    return folder, alone, [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_ranks_with_two_workers_see_every_sample_once_an_epoch(fits):
    _, alone, ranks = fits
    assert [len(rank["whole"]) for rank in ranks] == [2 * BATCHES] * 2
    for epoch in (slice(BATCHES), slice(BATCHES, None)):
        shares = [[number for batch in rank["whole"][epoch] for number in batch[1]] for rank in ranks]
        assert [len(share) for share in shares] == [12, 12]
        assert sorted(shares[0] + shares[1]) == list(range(24))
        paintings = [number for rank in ranks for batch in rank["whole"][epoch] for number in batch[2][::2]]
        assert sorted(paintings) == list(range(12))  # two contents for each
    assert _joined([rank["whole"] for rank in ranks]) == [batch[:3] for batch in alone]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_lightning_continues_in_the_middle_of_an_epoch(fits):
    for rank in fits[2]:
        assert rank["rest"] == rank["whole"][4:]  # bit for bit, with another number of workers
        done = [number for batch in rank["whole"][:4] + rank["rest"][: BATCHES - 4] for number in batch[1]]
        assert len(set(done)) == len(done) == 12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_another_number_of_ranks_goes_on_with_the_same_batches(fits, shards):
    folder, alone, ranks = fits
    assert _joined([rank["from one"] for rank in ranks]) == [batch[:3] for batch in alone[3:8]]
    rest = _fit(shards, folder / "alone", steps=2 * BATCHES, resume=folder / "whole" / "step=4.ckpt")
    assert rest == alone[4:]


def test_styles_of_their_own_have_no_artists_but_names(shards):
    module = _module(shards)
    module.setup("fit")
    assert module.artists == ()
    assert module.paintings_per_artist == ()
    batch = next(iter(module.train_dataloader()))
    assert batch.prompt[0] == batch.prompt[1] == f"project {batch.artist[0]}"
    assert torch.equal(batch.style, batch.reference)  # one grey level
    assert batch.views.shape == (4, 1, 3, 16, 16)


def test_evaluation_takes_the_styles_in_turn(shards):
    module = _module(shards, val_contents=3, pairs_per_content=2)
    module.setup("validate")
    batches = list(module.val_dataloader())
    assert [number for batch in batches for number in batch.index.tolist()] == list(range(6))
    assert [label for batch in batches for label in batch.artist.tolist()] == list(range(6))
    names = module.style.paintings("val")
    assert batches[0].prompt == [names[position].artist for position in range(4)]


def test_shards_go_with_folders(shards, gallery):
    class Prepared(ProceduralArt):
        def prepare(self):
            pass

    options = {"size": 16, "batch_size": 4, "artists_per_batch": 2, "workers": 0, "val_contents": 2}
    module = StyleTransferDataModule(Shards(shards, holdout=0), Prepared(gallery), **options)
    module.setup()
    assert module.artists == ("Artist A", "Artist B", "Artist C")
    greys = [grey for batch in module.train_dataloader() for grey in batch.content[:, 0, 0, 0].mul(25.5).tolist()]
    assert sorted(round(grey) for grey in greys) == list(range(24))
    module = StyleTransferDataModule(Prepared(gallery), Shards(shards, holdout=0), **options)
    module.setup()
    assert len(next(iter(module.val_dataloader())).index) == 4


@pytest.fixture
def broken(shards, tmp_path):
    """The same shards, with one picture of zeros."""
    root = shutil.copytree(shards, tmp_path / "broken")
    data = bytearray((root / "00000-0001.bin").read_bytes())
    data[24:60] = bytes(36)
    (root / "00000-0001.bin").write_bytes(data)
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_record_is_skipped_counted_and_listed(broken, tmp_path, workers):
    module = _module(broken, workers)
    module.trainer = _Place(tmp_path / "run")
    module.setup("fit")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = list(module.train_dataloader())
        module.teardown("fit")
    assert {warning.category for warning in caught} == {UnreadablePictureWarning}
    assert len(batches) == BATCHES
    shown = {round(grey) for batch in batches for grey in batch.content[:, 0, 0, 0].mul(25.5).tolist()}
    assert shown == set(range(24)) - {3}
    assert module.unreadable == 2  # as a content and as a style
    assert (tmp_path / "run" / "unreadable.txt").read_text() == f"000000003 in {broken}/00000-0001.bin\n"


class _Place:
    """What a data module asks of its trainer."""

    global_rank, world_size = 0, 1

    def __init__(self, folder):
        self.log_dir = str(folder)
