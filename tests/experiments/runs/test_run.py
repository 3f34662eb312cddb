import os

import pytest

from experiments.runs import run as runs
from experiments.runs.run import RunOptions, connect, open_run, wandb_mode
from lightning_modules.errors import ImpastoError


@pytest.fixture
def options(tmp_path, monkeypatch):
    for name in [*os.environ]:
        if name.startswith("SLURM_") or name in {"LOCAL_RANK", "RANK", "WORLD_SIZE", runs.NAME_VARIABLE}:
            monkeypatch.delenv(name)
    return RunOptions(runs_dir=tmp_path, run_name="a")


def test_a_taken_name_gets_a_number_and_a_line(options, capsys):
    names = [open_run("m", options, job="fit", seed=0, ckpt_path=None)[0].name for _ in range(3)]
    assert names == ["a", "a-2", "a-3"]
    assert capsys.readouterr().out.splitlines() == [f"name       a is taken: this run is a-{n}" for n in (2, 3)]


def test_what_is_discarded_leaves_no_empty_folder(options):
    first, second = (open_run("m", options, job="fit", seed=0, ckpt_path=None)[0] for _ in range(2))
    second.discard()
    assert first.folder.is_dir()
    first.discard()
    assert not list(options.runs_dir.iterdir())


def test_a_rank_that_lightning_started_writes_to_the_first_ranks_folder(options, monkeypatch):
    first, _ = open_run("m", options, job="fit", seed=0, ckpt_path=None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    second, _ = open_run("m", RunOptions(runs_dir=options.runs_dir), job="fit", seed=0, ckpt_path=None)
    assert first == open_run("m", options, job="fit", seed=0, ckpt_path=None)[0]
    assert second.name == first.name


def test_ranks_that_were_started_from_outside_need_a_name(options, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    nameless = RunOptions(runs_dir=options.runs_dir)
    with pytest.raises(ImpastoError, match="--run_name"):
        open_run("m", nameless, job="fit", seed=0, ckpt_path=None)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert open_run("m", nameless, job="fit", seed=0, ckpt_path=None)[0].name == "slurm-17"


TORCHRUN = {"RANK": "{rank}", "LOCAL_RANK": "{rank}", "WORLD_SIZE": "2"}
SRUN = {"SLURM_NTASKS": "2", "SLURM_PROCID": "{rank}", "SLURM_LOCALID": "{rank}", "SLURM_JOB_NAME": "train"}


@pytest.mark.parametrize("launcher", [TORCHRUN, SRUN, SRUN | {"WORLD_SIZE": "2"}], ids=["torchrun", "srun", "sbatch"])
def test_a_second_launch_of_one_name_is_refused_by_rank_zero_alone(options, monkeypatch, launcher):
    def launch(rank, job="fit"):
        for name, value in launcher.items():
            monkeypatch.setenv(name, value.format(rank=rank))
        monkeypatch.delenv(runs.NAME_VARIABLE, raising=False)
        return open_run("m", options, job=job, seed=0, ckpt_path=None)[0]

    folder = options.runs_dir / "m/a"
    assert not launch(1).folder.exists()  # whichever rank is first
    first = launch(0)
    assert first.folder == folder
    assert first.created
    assert [launch(rank).refusal for rank in (1, 0)] == ["", f"The run {folder} is there already: continue it with "
        "--ckpt_path last, or take another --run_name."]  # fmt: skip
    assert launch(0).loggers("fit") == []
    launch(0).discard()
    assert [path.name for path in folder.parent.iterdir()] == ["a"]
    assert launch(0, job="test").name == "a-2"  # an evaluation has nothing to continue


def test_a_requeued_job_comes_back_to_its_folder(options, monkeypatch):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value.format(rank=0))
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    nameless = RunOptions(runs_dir=options.runs_dir)
    first, _ = open_run("m", nameless, job="fit", seed=0, ckpt_path=None)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    second, _ = open_run("m", nameless, job="fit", seed=0, ckpt_path=None)
    assert (second, second.refusal) == (first, "")
    second.discard()
    assert second.folder.is_dir()  # it was there before


def test_latest_moves_in_one_step_and_spares_a_folder_of_that_name(options):
    for _ in range(2):
        run, _ = open_run("m", options, job="fit", seed=0, ckpt_path=None)
        run.link_latest()
    assert (options.runs_dir / "m/latest").resolve().name == "a-2"
    (options.runs_dir / "m/latest").unlink()
    (options.runs_dir / "m/latest").mkdir()
    run.link_latest()
    assert not (options.runs_dir / "m/latest").is_symlink()


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "k"}, "online"),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "disabled"),
        ("online", {}, "online"),
    ],
)
def test_wandb_is_online_only_with_a_key(monkeypatch, mode, environment, expected):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb_mode(mode) == expected


def test_a_lost_server_leaves_an_offline_run(monkeypatch, capsys):
    import wandb

    modes = []

    def init(**settings):
        modes.append(settings["mode"])
        if settings["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return type("Run", (), {"define_metric": lambda *_, **__: None})()

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "teardown", lambda: None)
    connect({"dir": "somewhere"}, "online")
    assert modes == ["online", "offline"]
    assert "no route to host" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../x", "../../x", "a/b", "/x", "..", "."])
def test_a_name_never_leaves_the_folder_of_runs(options, name):
    (options.runs_dir / "m").mkdir()
    elsewhere = RunOptions(runs_dir=options.runs_dir, run_name=name)
    for ckpt_path in (None, "last"):
        with pytest.raises(ImpastoError, match=r"--run_name .* without slashes"):
            open_run("m", elsewhere, job="fit", seed=0, ckpt_path=ckpt_path)
    assert not list((options.runs_dir / "m").iterdir())
