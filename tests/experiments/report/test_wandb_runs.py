"""Runs as W&B has them: an offline folder that W&B wrote, and a stand-in for its server's interface."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
from PIL import Image

from experiments.cli import execute
from experiments.report.gathering import gather
from experiments.report.page import write_report
from experiments.report.records import read_run
from experiments.report.wandb_runs import find_log, read_offline, read_online
from lightning_modules.errors import ImpastoError


@pytest.fixture(scope="module")
def recorded(trained, tmp_path_factory):
    """A run of the stub that was recorded by W&B offline too: its folder."""
    root = tmp_path_factory.mktemp("recorded")
    config = str(trained.parents[2] / "tiny.yaml")
    wandb.teardown()  # the service of another test's run, in this process, writes no second log
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert execute(["fit", "--config", config, "--run_name", "w", "--wandb", "offline"]) == 0
    return root / "runs/stub_method/w"


def test_an_offline_folder_says_what_the_run_says(recorded):
    (folder,) = recorded.glob("wandb/offline-run-*")
    ours, theirs = read_run(recorded), read_offline(find_log(folder))
    assert (theirs.name, theirs.method, theirs.finished) == ("w", "stub_method", True)
    assert theirs.summary == ours.summary
    assert theirs.curves["train/total"] == ours.curves["train/total"]
    assert {key: theirs.settings[key] for key in ours.settings if key.startswith(("model", "data"))} == {
        key: value for key, value in ours.settings.items() if key.startswith(("model", "data"))
    }
    assert Image.open(theirs.grid).size == Image.open(ours.grid).size


def test_an_offline_folder_is_compared_like_a_run(recorded, tmp_path):
    write_report([*recorded.glob("wandb/offline-run-*")], tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "<h1>stub_method tiny: w</h1>" in page
    assert "Painted by stub_method tiny alone" in page


@pytest.mark.parametrize("content", [b"no log", None])
def test_a_damaged_log_is_one_sentence(recorded, tmp_path, content):
    log = find_log(next(recorded.glob("wandb/offline-run-*")))
    broken = tmp_path / log.name
    broken.write_bytes(log.read_bytes()[:40] if content is None else content)
    with pytest.raises(ImpastoError, match=r"damaged|cannot be read"):
        read_offline(broken)


class Server:
    """What of ``wandb.Api`` is used."""

    def __init__(self, picture, **changes):
        self.said = SimpleNamespace(
            id="r1", group="clast", name="first", state="finished", config={
                "profile": "tiny", "seed_everything": 3, "model": {"init_args": {"lr": 0.1}}, "command": "impasto fit",
                "result": {"device": "GPU", "seconds": 7200.0, "iterations": 20, "seed": 3, "profile": "tiny"},
            },
            summary={"val/x": 0.5, "_runtime": 9.0, "samples": {"filenames": ["media/images/s.png"]}},
        )  # fmt: skip
        vars(self.said).update(changes)
        self.said.scan_history = lambda: [
            {"train/total": 2.0, "trainer/global_step": 9},
            {"train/total": 1.0, "trainer/global_step": 19, "val/x": 0.5, "_runtime": 3},
        ]
        self.said.file = lambda name: SimpleNamespace(download=lambda root, replace: self.fetch(picture, root, name))

    def run(self, address):
        if address != "me/impasto/r1":
            raise ValueError("Could not find run <Run nobody>\nsecond line")
        return self.said

    def runs(self, address):
        return [self.said, self.said]

    @staticmethod
    def fetch(picture, root, name):
        target = Path(root, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target)


@pytest.fixture
def picture(trained):
    return next((trained / "samples").glob("*.png"))


def test_a_run_on_the_server(picture, tmp_path):
    (run,) = read_online("me/impasto/r1", tmp_path, Server(picture))
    assert (run.name, run.method, run.place, run.metrics) == ("first", "clast", "wandb:me/impasto/r1", {"val/x": 0.5})
    assert run.curves == {"train/total": [(9, 2.0), (19, 1.0)], "val/x": [(19, 0.5)]}
    assert (run.summary["seconds"], run.summary["device"], run.summary["command"]) == (7200.0, "GPU", "impasto fit")
    assert run.settings["model.lr"] == 0.1
    assert run.grid.is_file()
    assert len(read_online("me/impasto", tmp_path, Server(picture))) == 2


def test_what_the_server_does_not_give_is_left_out_with_a_sentence(picture, tmp_path):
    server = Server(picture)
    found = gather(["wandb:me/impasto/r1", "wandb:me/impasto/none", "wandb:me"], tmp_path, server)
    assert len(found.runs) == 1
    assert found.damaged == [
        "wandb:me/impasto/none cannot be read from W&B (Could not find run <Run nobody>).",
        "wandb:me is no run: write wandb:entity/project/run.",
    ]
    (sentence,) = gather(["wandb:me/impasto/r1"], tmp_path, Server(picture, group=None)).damaged
    assert "no run of this repo" in sentence
