"""Every experiment's full profile on two ranks: equal weights, one writer, and a hand-over to one rank and back."""

import lightning_modules  # noqa: F401  (a forked rank reads this file first: the shim must come before lightning)

# isort: split
import os
import socket
import sys

import pytest
import torch
import yaml
from lightning import LightningDataModule

from benchmarks.full_profiles import full_profiles, make_pictures, stand_in
from experiments.cli import FOLDER, execute
from experiments.training import main

WITNESS = """
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback


class Witness(Callback):
    def __init__(self, folder: str):
        self.folder, self.seen, self.begun, self.written = Path(folder), [], {}, []
        sys.addaudithook(self.hear)

    def hear(self, event, arguments):
        if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa+"):
            self.written.append(str(arguments[0]))
        elif event == "os.rename":  # how a file comes to its name
            self.written.append(str(arguments[1]))

    def on_train_start(self, trainer, pl_module):
        self.begun = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(batch[0])  # the contents, or what else a batch is made of

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.state.fn != "fit":
            self.seen.append(batch.index)

    on_validation_batch_end = on_predict_batch_end

    def on_fit_end(self, trainer, pl_module):
        found = {"seen": self.seen, "begun": self.begun, "state": pl_module.state_dict(), "step": trainer.global_step}
        found["written"] = [path for path in self.written if "/runs/" in path]
        torch.save(found, self.folder / f"rank{trainer.global_rank}of{trainer.world_size}.pt")

    def on_validation_end(self, trainer, pl_module):
        if trainer.state.fn != "fit":
            self.on_fit_end(trainer, pl_module)

    on_predict_end = on_fit_end
"""
# By key, wherever in a profile it stands. An epoch has three batches: hand-overs are in the middle of one.
SMALL = {
    **{"size": 64, "resize": 64, "val_size": 64, "scale": [1.0, 1.0], "batch_size": 4, "artists_per_batch": 4},
    **{"batches_per_epoch": 3, "val_batch_size": 2, "val_contents": 2, "pairs_per_content": 2, "val_pictures": 4},
    **{"jobs_per_batch": 1, "count": 2, "windows": 4, "each": 2, "width": 8, "max_channels": 16},
    **{"network": "brushwork", "discriminator_scales": 2},
    **{"StylisticPrediction": {"content": "vgg", "style": "vgg"}, "Gatys": {"controls": {"iterations": 2}}},
}
TRAINER = [
    "--trainer.accelerator=cpu",
    "--trainer.val_check_interval=2",
    "--trainer.check_val_every_n_epoch=null",
    "--trainer.limit_val_batches=1",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--wandb=disabled",
    "--run_name=a",
]
EXPERIMENTS = full_profiles()


@pytest.fixture
def options(tmp_path, tmp_path_factory):
    """Return a function from an experiment to the command line of its full profile, small."""

    def call(name):
        pictures = tmp_path_factory.getbasetemp() / "stand-in"
        make_pictures(pictures, side=64, artists=6)
        profile = stand_in(name, pictures, weights="embedded", settings=SMALL)
        witness = {"class_path": "witness.Witness", "init_args": {"folder": str(tmp_path)}}
        profile["trainer"]["callbacks+"] = [*profile["trainer"].get("callbacks+", []), witness]
        (tmp_path / "full.yaml").write_text(yaml.safe_dump(profile))
        (tmp_path / "witness.py").write_text(WITNESS)
        own = [path for path in [FOLDER / name / "smoke.yaml"] if path.is_file()]
        files = [word for file in [tmp_path / "full.yaml", *own] for word in ("--config", str(file))]
        return [*files, f"--runs_dir={tmp_path}/runs", *TRAINER]

    return call


def rank_main(rank, port, folder, arguments):
    """Be `impasto` as one of two ranks that a launcher has started."""
    torch.set_num_threads(1)
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    os.environ |= place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    sys.path.insert(0, str(folder))
    status = execute([*arguments, "--trainer.devices=2", "--trainer.strategy=ddp"])
    assert status == 0, f"rank {rank} ended with status {status}"


@pytest.fixture
def on_two_ranks(run_ranks, tmp_path):
    """Return a function that runs a command on two ranks, and returns what they saw."""

    def call(*arguments):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        run_ranks(rank_main, port, tmp_path, arguments)
        return [torch.load(tmp_path / f"rank{rank}of2.pt", weights_only=True) for rank in (0, 1)]

    return call


@pytest.fixture
def on_one_rank(monkeypatch, tmp_path):
    """Return the same for this process alone."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(*arguments):
        assert execute(arguments) == 0
        return torch.load(tmp_path / "rank0of1.pt", weights_only=True)

    return call


def equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def rows(batch):
    """Return the samples of a batch, in whatever order ranks have them."""
    return sorted(batch.flatten(1).tolist() if batch.ndim > 1 else batch.tolist())


def first_batches(options, count):
    """Return what a single process sees of the first batches."""
    data = main(["fit", *options], run=False).datamodule
    data.prepare_data()
    data.setup("fit")
    loader, found = data.train_dataloader(), []
    while len(found) < count:
        found += [batch[0] for batch in loader]
    return found[:count]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, kind in EXPERIMENTS.items() if kind.trains])
def test_two_ranks_keep_equal_weights_and_hand_over_to_one_and_back(name, options, on_two_ranks, on_one_rank):
    words = ["fit", *options(name)]
    both = on_two_ranks(*words, "--trainer.max_steps=2")
    equal(both[0]["state"], both[1]["state"])
    assert not any(map(torch.equal, both[0]["seen"], both[1]["seen"]))
    assert any(path.endswith("/last.ckpt") for path in both[0]["written"])
    assert both[1]["written"] == []
    alone = on_one_rank(*words, "--trainer.max_steps=4", "--ckpt_path=last")
    equal(alone["begun"], both[0]["state"])
    again = on_two_ranks(*words, "--trainer.max_steps=6", "--ckpt_path=last")
    equal(again[0]["begun"], alone["state"])
    equal(again[0]["state"], again[1]["state"])
    assert [each["step"] for each in (*both, alone, *again)] == [2, 2, 4, 6, 6]
    joined = [
        torch.cat(pair) for ranks in (both, again) for pair in zip(*(each["seen"] for each in ranks), strict=True)
    ]
    everything = [*joined[:2], *alone["seen"], *joined[2:]]
    assert [rows(batch) for batch in everything] == [rows(batch) for batch in first_batches(words[1:], 6)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, kind in EXPERIMENTS.items() if not kind.trains])
def test_two_ranks_share_the_pictures_of_what_learns_nothing(name, options, on_two_ranks):
    words = options(name)
    data = main(["fit", *words], run=False).datamodule
    own = type(data).predict_dataloader is not LightningDataModule.predict_dataloader
    both = on_two_ranks("predict" if own else "validate", *words)
    seen = [torch.cat(each["seen"]).tolist() for each in both]
    assert sorted(seen[0] + seen[1]) == list(range(8 if own else 4))
    assert all(seen)


@pytest.mark.slow
def test_networks_of_single_pictures_are_not_averaged(options, on_two_ranks):
    with pytest.raises(Exception, match="ended with status 1"):
        on_two_ranks("fit", *options("least"))
