"""`impasto curate`: the same answer from every executor, whatever dies on the way, and nothing done twice."""

import contextlib
import csv
import json
import multiprocessing
import os
import signal
import threading
import time

import pyarrow.parquet as pq
import pytest

from experiments.curating import executors
from experiments.curating.rounds import run_rounds
from experiments.curating.scoring import Task
from lightning_modules.errors import ImpastoError


def manifest(out):
    return pq.read_table(out / "manifest.parquet").to_pylist()


def listed(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def plain(curate):
    return curate(out="plain")


def test_the_manifest_says_what_is_kept_and_why_the_rest_is_not(plain, capsys):
    rows = manifest(plain)
    assert [row["key"] for row in rows] == [f"{number:09d}" for number in range(24) if number not in {5, 10}]
    assert {row["shard"] for row in rows} == {"00000", "00001", "00002"}
    assert all((row["width"], row["height"]) == (40, 40) and len(row["sha256"]) == 64 for row in rows)
    assert all(row["kept"] == (row["score"] >= 0.5) for row in rows)
    assert {row["kept"] for row in rows} == {True, False}
    (broken,) = listed(plain / "broken.csv")
    assert (broken["shard"], broken["key"]) == ("00000", "000000005")
    assert "000000005.png" in broken["reason"]
    assert "tmp" not in broken["reason"]
    summary = json.loads((plain / "summary.json").read_text())
    assert (summary["too_small"], summary["broken"]) == (1, 1)
    assert summary["kept"] + summary["left_out"] == 22


def test_content_is_what_is_not_stylistic_by_as_much(curate, plain):
    scores = {row["key"]: row["score"] for row in manifest(plain)}
    other = curate("--keep", "content", "--threshold", "0.7", out="plain")
    assert {row["key"]: row["score"] for row in manifest(other)} == scores
    assert {row["key"] for row in manifest(other) if row["kept"]} == {k for k, s in scores.items() if 1 - s >= 0.7}


def test_borderline_cases_are_the_nearest_to_the_threshold(curate):
    out = curate("--threshold", "0.6", "--borderline", "4")
    nearest = sorted((abs(row["score"] - 0.6), row["key"]) for row in manifest(out))[:4]
    assert [row["key"] for row in listed(out / "borderline.csv")] == [key for _, key in nearest]
    assert (out / "borderline.jpg").stat().st_size > 1000


def test_a_second_run_scores_nothing_again_but_what_is_missing_or_changed(curate, plain, archive, make_shard):
    before = {path.name: path.stat().st_mtime_ns for path in (plain / "scores").iterdir()}
    first = manifest(plain)
    (plain / "scores" / "00001.parquet").unlink()
    (plain / "scores" / "00002.parquet").write_bytes(b"half")
    assert manifest(curate(out="plain")) == first
    after = {path.name: path.stat().st_mtime_ns for path in (plain / "scores").iterdir()}
    assert [name for name in before if before[name] == after[name]] == ["00000.parquet"]
    make_shard(archive / "00001.tar", range(8, 14))
    assert [row["key"] for row in manifest(curate(out="plain")) if row["shard"] == "00001"] == [
        f"{number:09d}" for number in range(8, 14)
    ]


def test_a_folder_never_mixes_two_kinds_of_scores(curate, plain, tmp_path):
    with pytest.raises(ImpastoError, match="another min_side"):
        curate("--min-side", "30", out="plain")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "letter.txt").write_text("mine")
    with pytest.raises(ImpastoError, match="holds something else"):
        curate(out="else")
    assert [path.name for path in (tmp_path / "else").iterdir()] == ["letter.txt"]


def test_a_damaged_shard_is_listed_and_the_others_are_done(curate, archive):
    path = archive / "00002.tar"
    path.write_bytes(path.read_bytes()[:3000])
    out = curate()
    assert [row["shard"] for row in listed(out / "broken.csv")] == ["00000", "00002"]
    assert {"00000", "00001"} <= {row["shard"] for row in manifest(out)}


@pytest.mark.parametrize("options", [("--threshold", "1.5"), ("--workers", "0"), ("--batch", "0")])
def test_options_out_of_range_are_refused(curate, options):
    with pytest.raises(ImpastoError, match=options[0]):
        curate(*options)


def test_another_methods_checkpoint_is_refused(curate, checkpoint, tmp_path):
    with pytest.raises(ImpastoError, match="is no StylisticPrediction"):
        curate("--checkpoint", "embedded:clast")


@pytest.mark.parametrize("executor", ["pool", "local"])
def test_processes_and_jobs_give_the_answer_of_the_loop(curate, plain, executor):
    assert manifest(curate("--executor", executor, out=executor)) == manifest(plain)


@pytest.mark.slow
def test_ray_gives_the_answer_of_the_loop_and_phones_nobody(curate, plain, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    before = signal.getsignal(signal.SIGTERM)
    assert manifest(curate("--executor", "ray", out="ray")) == manifest(plain)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_worker_killed_in_the_middle_of_a_shard_is_survived(curate, plain, archive, tmp_path):
    """A shard that is a pipe holds its worker in the middle of reading until the test lets go of it."""
    expected, shard = manifest(plain), archive / "00001.tar"
    data = shard.read_bytes()
    for path in (archive / "00000.tar", archive / "00002.tar"):
        path.unlink()
    shard.unlink()
    os.mkfifo(shard)
    killed, others = [], set(multiprocessing.active_children())

    def kill():
        with shard.open("wb") as pipe:  # opens when a worker reads
            killed.extend(worker.pid for worker in set(multiprocessing.active_children()) - others)
            for pid in killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
            aside = tmp_path / "aside"
            aside.write_bytes(data)
            aside.replace(shard)
            with contextlib.suppress(BrokenPipeError):
                pipe.write(b"")

    thread = threading.Thread(target=kill)
    thread.start()
    out = curate("--executor", "pool", out="killed")
    thread.join(10)
    assert killed
    assert manifest(out) == [row for row in expected if row["shard"] == "00001"]
    assert not list((out / "scores").glob(".*"))


def finish(task):
    task.target.write_text("done")


def die_once(task):
    """Kill the own process where nobody has done so for this shard."""
    grave = task.shard.with_suffix(".died")
    if grave.exists():
        finish(task)
    else:
        grave.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def die(task):
    os.kill(os.getpid(), signal.SIGKILL)


class Plain(Task):
    """A task that is finished where its file is."""

    @property
    def finished(self):
        return self.target.is_file()


@pytest.fixture
def plain_tasks(tmp_path):
    return [Plain(tmp_path / f"{n}.tar", tmp_path / f"{n}.done", tmp_path) for n in range(3)]


def test_what_dies_is_tried_again_until_it_is_done(plain_tasks):
    run_rounds(executors.pool(1, die_once), plain_tasks)
    assert all(task.finished for task in plain_tasks)


def test_what_always_dies_is_given_up_by_name(plain_tasks):
    with pytest.raises(ImpastoError, match=r"0\.tar, 1\.tar, 2\.tar"):
        run_rounds(executors.pool(2, die), plain_tasks)


def test_an_error_of_a_shard_is_no_death(curate, archive, checkpoint, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.curating.scoring._write", full)
    with pytest.raises(OSError, match="No space left"):
        curate()


def test_gpus_are_dealt_out_in_turn_and_processors_shared(monkeypatch, tmp_path):
    from argparse import Namespace

    from experiments.curating import plan

    monkeypatch.setattr(plan.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(plan, "processors", lambda: 8)
    args = Namespace(
        executor="pool", device="cuda", out=tmp_path, min_side=0, batch=4, workers=None, cpus=3, address=None
    )
    shards = [tmp_path / f"{n}.tar" for n in range(3)]
    tasks = plan.tasks_of(args, tmp_path, shards)
    assert [task.device for task in tasks] == ["cuda:0", "cuda:1", "cuda:0"]
    assert {task.threads for task in tasks} == {4}
    args.executor = "slurm"
    assert {(task.device, task.threads) for task in plan.tasks_of(args, tmp_path, shards)} == {("cuda", 3)}


def test_a_missing_package_is_named_with_its_extra(curate, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImpastoError, match=r"submitit: run `pip install -e '\.\[cluster\]'`"):
        curate("--executor", "local")
