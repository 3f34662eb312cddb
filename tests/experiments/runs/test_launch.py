import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from experiments.cli import FOLDER, execute
from experiments.runs.launch import check_processes
from lightning_modules.errors import ImpastoError


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLURM_") or name in {"WORLD_SIZE", "RANK", "LOCAL_RANK"}:
            monkeypatch.delenv(name)


def trainer(devices, nodes, world_size):
    return SimpleNamespace(num_devices=devices, num_nodes=nodes, world_size=world_size)


@pytest.mark.parametrize("found", [trainer(1, 1, 1), trainer(2, 1, 1), trainer(8, 4, 32)])
def test_a_process_that_nobody_launched_starts_its_ranks_itself(found):
    check_processes(found)


@pytest.mark.parametrize(
    ("variables", "found", "fits"),
    [
        ({"WORLD_SIZE": "8"}, trainer(4, 2, 8), True),
        ({"WORLD_SIZE": "2"}, trainer(1, 1, 1), False),  # both would train alone, and write to one folder
        ({"WORLD_SIZE": "2"}, trainer(2, 1, 1), False),
        ({"SLURM_NTASKS": "4"}, trainer(8, 1, 4), False),  # fewer devices than were asked for
        ({"SLURM_NTASKS": "4"}, trainer(2, 2, 4), True),
    ],
)
def test_as_many_processes_as_devices(monkeypatch, variables, found, fits):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if fits:
        check_processes(found)
        return
    with pytest.raises(ImpastoError, match=f"^{next(iter(variables.values()))} processes were started for"):
        check_processes(found)


def test_a_fit_of_the_wrong_size_leaves_nothing_behind(stub_yaml, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert execute(["fit", "--config", str(stub_yaml), "--run_name", "a"]) == 1
    assert "2 processes were started for 1 devices on each of 1 nodes" in capsys.readouterr().err
    assert not (stub_yaml.parent / "runs/stub_method/a").exists()


def arguments_of(tmp_path, *options, **variables):
    """Return what torchrun.sh would start on each rank."""
    fake = tmp_path / "python"
    fake.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    done = subprocess.run(  # noqa: S603
        [FOLDER / "cluster/torchrun.sh", *options],
        env={**os.environ, "PYTHON": str(fake), "DEVICES": "2", "RUN_NAME": "a", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    words = done.stdout.splitlines()
    return done, words[words.index("experiments") + 1 :] if words else []


def test_overlays_are_laid_in_their_order_and_the_launcher_has_the_last_word(tmp_path, monkeypatch, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text("trainer: {max_steps: 7, devices: 5, precision: 32-true}\n")
    variables = {"METHOD": "neat", "PROFILE": "tiny", "OVERLAYS": f"bf16 without_sobel {mine}", "RUNS": "elsewhere"}
    done, words = arguments_of(tmp_path, "--config", "experiments/overlays/ddp.yaml", **variables)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(FOLDER.parent)
    with pytest.raises(SystemExit):
        execute([*words, "--print_config"])
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["trainer"]["devices"] == "2"
    assert found["trainer"]["strategy"] == "ddp"
    assert (found["trainer"]["max_steps"], found["trainer"]["precision"]) == (7, "32-true")
    assert found["runs_dir"] == "elsewhere"
    assert found["run_name"] == "a"
    assert "experiments/neat/without_sobel.yaml" in words


def test_a_file_that_is_not_there_is_named(tmp_path):
    done, _ = arguments_of(tmp_path, METHOD="neat", OVERLAYS="bf61")
    assert done.returncode == 1
    assert done.stderr.startswith("There is no experiments/neat/bf61.yaml")


@pytest.mark.parametrize("name", ["torchrun.sh", "slurm.sbatch", "configs.sh"])
def test_the_launch_files_are_shell(name):
    subprocess.run(["bash", "-n", Path(FOLDER / "cluster" / name)], check=True)  # noqa: S603, S607
