"""`impasto evaluate` from folders to tables; killed, resumed, and asked again in another folder."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from experiments.cli import execute

ROOT = Path(__file__).parents[2]
STUBS = Path(__file__).parent / "stubs"
METRICS = "ssim,chamfer"
# Ends the process in the middle of the third picture's line, when its file is whole and nobody knows.
KILLED = """
import os, signal, sys
from experiments.evaluation import journal
from experiments.cli import execute

noted = []

def line(entry, whole=journal._line):
    noted.append(entry)
    if len(noted) < 4:  # the head and two pictures
        return whole(entry)
    with open(sys.argv[1] + "/journal.jsonl", "a") as file:
        file.write(whole(entry)[:20])
    os.kill(os.getpid(), signal.SIGKILL)

journal._line = line
execute(sys.argv[2:])
"""


@pytest.fixture
def options(gallery, trained):
    """Return a function from the name of a folder to the words of the command."""

    def words(out, *more, checkpoint=trained):
        folders = ["--content", str(gallery / "content"), "--style", str(gallery / "style")]
        settings = ["--metrics", METRICS, "--device", "cpu", "--out", str(out)]
        return ["evaluate", "--checkpoint", str(checkpoint), *folders, *settings, *more]

    return words


def result(out):
    return json.loads((out / "evaluation.json").read_text())


def numbers(out):
    """Return all that two people with one protocol and one checkpoint must have alike."""
    found = result(out)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader((out / "evaluation.csv").open())]
    return found["metrics"], found["protocol"], found["checkpoint"]["sha256"], rows


def test_the_table_says_what_was_measured_and_how(options, tmp_path, capsys):
    out = tmp_path / "out"
    assert execute(options(out)) == 0
    written = capsys.readouterr().out.splitlines()
    assert written[-1] == str(out / "evaluation.json")
    found = result(out)
    assert found["format"] == 1
    assert found["method"] == "stub_method"
    protocol = found["protocol"]
    assert (protocol["name"], protocol["n"], protocol["seed"]) == ("every", 6, 0)
    assert protocol["sha256"][:12] in "\n".join(written)
    assert "2000 resamples of contents and styles" in protocol["estimator"]
    assert found["threads"] >= 1
    assert found["device"].startswith("cpu")
    assert found["settings"]["metrics"] == ["ssim", "chamfer"]
    assert (found["seconds"]["n"], found["seconds"]["warm_up"]) == (6, 3)
    rows = list(csv.DictReader((out / "evaluation.csv").open()))
    assert [row["id"] for row in rows] == [f"{number:04}" for number in range(6)]
    assert [row["artist"] for row in rows] == ["ada", "bo", "cy"] * 2
    assert found["seconds"]["median"] == pytest.approx(np.median([float(row["seconds"]) for row in rows]))
    for row in rows:
        assert all((out / row[kind]).is_file() for kind in ("stylized", "content", "style"))
    entry = found["metrics"]["ssim"]
    assert entry["mean"] == pytest.approx(np.mean([float(row["ssim"]) for row in rows]))
    assert entry["low"] < entry["mean"] < entry["high"]
    assert (entry["better"], entry["n"], entry["resampled"]) == ("higher", 6, "contents and styles")
    assert found["metrics"]["chamfer"]["better"] == "lower"


def test_two_folders_and_a_frozen_file_give_the_same_numbers(options, gallery, tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    shutil.copytree(gallery, tmp_path / "copy")
    assert execute(options(first)) == 0
    elsewhere = [word.replace(str(gallery), str(tmp_path / "copy")) for word in options(second)]
    assert execute(elsewhere) == 0
    assert numbers(second) == numbers(first)
    assert execute(["evaluate", "--protocol", "every", *options(third)[3:7], "--freeze", str(tmp_path / "p.yaml")]) == 0
    words = options(third, "--protocol", str(tmp_path / "p.yaml"))
    assert execute([*words[:3], *words[7:]]) == 0  # the file knows where its pictures lie
    assert numbers(third) == numbers(first)
    assert (third / "protocol.yaml").read_text() == (first / "protocol.yaml").read_text()


def test_kill_nine_is_survived_with_the_same_numbers(options, stub_path, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert execute(options(whole)) == 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(stub_path), str(ROOT)])}
    environment["OMP_NUM_THREADS"] = str(result(whole)["threads"])
    command = [sys.executable, "-c", KILLED, str(killed), *options(killed)]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)  # noqa: S603
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len((killed / "journal.jsonl").read_text().split("\n")) == 4  # the head, two pictures, and a broken line
    assert not (killed / "evaluation.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in sorted((killed / "pictures").glob("*.png"))}
    assert len(kept) == 3
    assert execute(options(killed)) == 0
    assert numbers(killed) == numbers(whole)
    after = {path: path.stat().st_mtime_ns for path in kept}
    assert [after[path] == kept[path] for path in kept] == [True, True, False]  # what nobody had noted is painted again
    assert result(killed)["seconds"]["n"] == 6


def test_a_finished_picture_that_was_changed_is_painted_again(options, tmp_path):
    out = tmp_path / "out"
    assert execute(options(out)) == 0
    before = numbers(out)
    shutil.copy(out / "pictures/0001.png", out / "pictures/0000.png")
    (out / "pictures/0002.png").unlink()
    assert execute(options(out)) == 0
    assert numbers(out) == before


def test_another_checkpoint_or_protocol_is_refused_and_overwrite_starts_anew(options, trained, tmp_path, capsys):
    out, other = tmp_path / "out", tmp_path / "other.ckpt"
    assert execute(options(out)) == 0
    shutil.copy(trained / "checkpoints/last.ckpt", other)
    with other.open("ab") as file:
        file.write(b" ")
    for words, what in (
        (options(out, checkpoint=other), "another checkpoint"),
        (options(out, "--limit", "2"), "another protocol"),
        (options(out, "--set", "alpha=0.5"), "other settings"),
    ):
        assert execute(words) == 1
        assert what in capsys.readouterr().err
    assert result(out)["protocol"]["n"] == 6
    assert execute(options(out, "--limit", "2", "--overwrite")) == 0
    assert result(out)["protocol"]["n"] == 2
    assert len(list((out / "pictures").iterdir())) == 2


def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(options, gallery, tmp_path, capsys):
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"PK half a checkpoint")
    protocol = tmp_path / "p.yaml"
    shutil.copytree(gallery, tmp_path / "g")
    there = [word.replace(str(gallery), str(tmp_path / "g")) for word in options("x")[3:7]]
    assert execute(["evaluate", "--protocol", "every", *there, "--freeze", str(protocol)]) == 0
    Image.new("RGB", (24, 32)).save(tmp_path / "g/content/cat.png")
    (tmp_path / "g/style/ada/dots.png").rename(tmp_path / "dots.png")
    capsys.readouterr()
    out = tmp_path / "out"
    frozen = ["evaluate", "--checkpoint", "x.ckpt", "--protocol", str(protocol), "--out", str(out)]
    for words, sentence in (
        (options(out, checkpoint=broken), "is not a checkpoint that can be read safely"),
        (options(out, "--metrics", "simm"), "did you mean 'ssim'"),
        (options(out, "--metrics", "panel_named"), "panel_named needs a panel"),
        (options(out, "--metrics", "mask_iou"), "mask_iou needs the masks of a grounder"),
        (options(out, "--metrics", "sifid_truth"), "compares with style, not with contents alone"),
        (options(out, "--protocol", "neat"), "has 15 contents, and here are 2"),
        (options(out, "--freeze", "p.yaml"), "leave --checkpoint and --out away"),
        (["evaluate", "--protocol", "every", *there, "--freeze", str(protocol)], "is there already"),
        (["evaluate", *there, "--out", str(out)], "Say what paints"),
        ([*frozen, "--limit", "3"], "is frozen"),
        (frozen, "is not there: say with --style DIR"),
    ):
        assert execute(words) == 1, words
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert sentence in error
    assert not out.exists()
    (tmp_path / "dots.png").rename(tmp_path / "g/style/ada/dots.png")
    assert execute(frozen) == 1
    assert "content/cat.png is another picture than the one of the protocol every" in capsys.readouterr().err
    assert execute(options(tmp_path / "g")) == 1
    assert "and no evaluation: give an empty or new folder" in capsys.readouterr().err


def test_a_run_keeps_its_evaluations_and_truths_are_measured(options, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "name": "small", "source": "nobody", "pairing": "procedural", "warm_up": 1, "resize": 24,
                "options": {"size": 32, "contents_per_split": {"train": 1, "val": 0, "test": 2}},
                "metrics": ["ssim", "ssim_truth", "csd", "cmmd_unbiased"], "networks": {"weights": "embedded"},
                "estimator": {"resample": ["style"], "resamples": 200},
            }
        )
    )  # fmt: skip
    words = ["evaluate", "--checkpoint", str(run), "--content", str(tmp_path / "art"), "--device", "cpu"]
    assert execute([*words, "--protocol", str(recipe), "--limit", "5"]) == 0
    found = result(run / "evaluation/small")["metrics"]
    assert found["ssim_truth"]["mean"] != found["ssim"]["mean"]
    assert found["ssim"]["resampled"] == "styles"
    assert (found["csd_embedded"]["resampled"], found["cmmd_unbiased_embedded"]["resampled"]) == ("pictures", None)
    assert found["csd_embedded"]["low"] <= found["csd_embedded"]["mean"] <= found["csd_embedded"]["high"]
    assert found["cmmd_unbiased_embedded"]["low"] is None


def test_a_clip_is_measured_beside_what_it_was_made_from(gallery, trained, tmp_path):
    clips = tmp_path / "clips"
    for clip, shade in (("still", 0), ("dark", 60)):
        for frame in range(3):
            folder = clips / clip
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (shade * frame,) * 3).save(folder / f"{frame}.png")
    words = ["evaluate", "--checkpoint", str(trained), "--protocol", "contraast-video", "--limit", "9"]
    folders = ["--content", str(clips), "--style", str(gallery / "style"), "--weights", "embedded"]
    assert execute([*words, *folders, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    found = result(tmp_path / "out")["metrics"]
    assert list(found) == ["temporal_lpips_embedded", "temporal_lpips_input_embedded"]
    assert found["temporal_lpips_embedded"]["resampled"] == "clips"
    assert found["temporal_lpips_input_embedded"]["mean"] > 0
    assert found["temporal_lpips_input_embedded"]["low"] == 0  # of the clip that stands still
    assert found["temporal_lpips_input_embedded"]["better"] == "none"
