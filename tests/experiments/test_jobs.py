"""A CSV file of jobs, run and scored with one command."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from datamodules.job_table import JobTable
from experiments.cli import FOLDER, execute
from lightning_modules.grounding import configured
from lightning_modules.grounding.regions import region_of

METRICS = {"region_ssim", "region_clip_embedded", "edge_seam", "background_error"}


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Stand in a folder with a photograph, a table of jobs on it, and the YAML of a method that darkens regions."""
    monkeypatch.chdir(tmp_path)
    photo = np.random.default_rng(0).integers(60, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(photo).save("photo.png")
    mask = np.zeros((48, 48), np.uint8)
    mask[:20] = 255
    Image.fromarray(mask).save("sky.png")
    (tmp_path / "jobs.csv").write_text(
        "image,prompt,style,region,mask,box\n"
        "photo.png,apply cubism style to the sky in the image,cubism,the sky,sky.png,\n"
        'photo.png,,Ada Stipple,the boat,,"0.5,0.5,1,1"\n'
        'photo.png,,cubism,the boat,,"24,24,48,48"\n'
    )
    metrics = {
        "class_path": "callbacks.style_metrics.StyleMetrics",
        "init_args": {
            "weights": "embedded",
            "metrics": ["region_ssim", "region_clip", "edge_seam", "background_error"],
        },
    }
    settings = {
        "model": {"class_path": "stub_method.Shader"},
        "data": {
            "class_path": "datamodules.local_style.LocalStyleDataModule",
            "init_args": {"jobs": {"class_path": "datamodules.jobs.ProceduralJobs"}, "size": 48},
        },
        "trainer": {
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "callbacks+": [metrics, {"class_path": "callbacks.save_stylizations.SaveStylizations"}],
        },
        "wandb": "disabled",
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def test_one_command_paints_and_scores_a_table_of_jobs(jobs, capfd):
    command = ["validate", "--config", "tiny.yaml", "--data.jobs", "jobs.csv", "--run_name", "a"]
    assert execute(command) == 0
    run = jobs / "runs/stub_method/a"
    assert capfd.readouterr().out.rstrip().splitlines()[-1].split() == ["records", "runs/stub_method/a"]
    with (run / "per_sample.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["style"], row["region"]) for row in table] == [
        ("cubism", "the sky"), ("Ada Stipple", "the boat"), ("cubism", "the boat")
    ]  # fmt: skip
    for row in table:
        assert row.keys() >= METRICS
        assert float(row["background_error"]) == 0
        assert 0 < float(row["region_ssim"]) < 1
        painted, mask = (np.asarray(Image.open(run / f"results/{row['job']}{end}.png")) for end in ("", "_mask"))
        photo = np.asarray(Image.open("photo.png"))
        assert np.array_equal(painted[mask == 0], photo[mask == 0])
        assert (painted[mask > 0] < photo[mask > 0]).all()
    assert len(list((run / "results").iterdir())) == 6
    assert list((run / "samples").glob("*.png"))


def test_prediction_paints_them_too(jobs):
    assert execute(["predict", "--config", "tiny.yaml", "--data.jobs", "jobs.csv", "--run_name", "b"]) == 0
    assert len(list((jobs / "runs/stub_method/b/results").iterdir())) == 6


WITNESS = """
import json
from pathlib import Path

from lightning.pytorch import Callback


class Witness(Callback):
    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, *args):
        with Path(f"rank{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(batch.index.tolist()) + "\\n")
"""


@pytest.mark.slow
def test_two_ranks_of_a_prediction_share_the_jobs(jobs):
    (jobs / "witness.py").write_text(WITNESS)
    overlay = {"devices": 2, "strategy": "ddp", "callbacks+": [{"class_path": "witness.Witness"}]}
    (jobs / "two.yaml").write_text(yaml.safe_dump({"trainer": overlay}))
    command = ["predict", "--config", "tiny.yaml", "--config", "two.yaml", "--data.jobs", "jobs.csv", "--run_name", "a"]
    places = [str(path) for path in (FOLDER.parent, jobs, Path(__file__).parent / "stubs")]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "experiments", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = [(jobs / f"rank{rank}.jsonl").read_text().splitlines() for rank in range(2)]
    assert seen == [["[0]", "[2]"], ["[1]"]]
    assert len(list((jobs / "runs/stub_method/a/results").iterdir())) == 6


def fit(name, steps, *more):
    files = [word for file in ("tiny", "smoke") for word in ("--config", str(FOLDER / "least" / f"{file}.yaml"))]
    small = ["--data.jobs", "jobs.csv", "--data.size", "48", "--data.iterations", "2", "--wandb", "disabled"]
    trainer = [
        "--trainer.accelerator",
        "cpu",
        "--trainer.max_steps",
        str(steps),
        "--trainer.enable_progress_bar",
        "false",
    ]
    return execute(["fit", *files, *small, *trainer, "--run_name", name, *more])


@pytest.mark.usefixtures("jobs")
def test_a_fit_ends_with_a_checkpoint_whose_paintings_a_continued_run_shares(tmp_path):
    assert fit("whole", 6) == 0
    runs = tmp_path / "runs/least"
    assert {path.name for path in (runs / "whole").iterdir()} >= {"summary.json", "per_sample.csv", "results", "report"}
    assert fit("begun", 3) == 0  # to the middle of the second job
    assert fit("ended", 6, "--ckpt_path", str(runs / "begun/checkpoints/last.ckpt")) == 0
    for painting in (runs / "whole/results").iterdir():
        assert painting.read_bytes() == (runs / "ended/results" / painting.name).read_bytes(), painting.name
    with (runs / "whole/per_sample.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert float(row["background_error"]) == 0
            assert float(row["region_ssim_content"]) < 1


class Half:
    """Finds a door at the right border, and everything else in the left half."""

    def ground(self, image, phrase):
        mask = torch.zeros(1, *image.shape[-2:])
        if phrase == "door":
            mask[..., -12:] = 1
        else:
            mask[..., :24] = 1
        return [region_of(mask, 0.5, "half")]


def test_words_for_regions_are_found_by_the_grounder_of_the_command(jobs, monkeypatch):
    (jobs / "jobs.csv").write_text(
        "image,prompt\nphoto.png,apply cubism to the chair\nphoto.png,paint everything except the door in wool\n"
    )
    asked = []
    monkeypatch.setattr(configured, "find_grounder", lambda name, settings: asked.append(name) or Half())
    words = ["--data.parser", "lightning_modules.grounding.parse_prompt"]
    finder = "--data.grounder", "lightning_modules.grounding.PhraseGrounder", "--data.grounder.grounder", "clipseg"
    command = ["validate", "--config", "tiny.yaml", "--data.jobs", "jobs.csv", "--run_name", "a"]
    assert execute([*command, *words, *finder]) == 0
    assert set(asked) == {"clipseg"}
    results = jobs / "runs/stub_method/a/results"
    masks = [np.asarray(Image.open(path))[..., 0] for path in sorted(results.glob("*_mask.png"))]
    assert [(mask[:, 0].min(), mask[:, 30].max(), mask[:, -1].max()) for mask in masks] == [(255, 0, 0), (255, 255, 0)]
    assert execute([*command, *words]) == 1


def test_a_table_that_cannot_be_done_is_one_sentence(jobs, capsys):
    with (jobs / "jobs.csv").open("a") as file:
        file.write("gone.png,,cubism,,,\n")
    assert execute(["validate", "--config", "tiny.yaml", "--data.jobs", "jobs.csv"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("impasto: Line 5 of jobs.csv names the image gone.png")
    assert not list((jobs / "runs").rglob("results"))


def test_the_example_is_a_table_of_jobs(tmp_path):
    lines = (FOLDER / "least" / "jobs.csv").read_text().splitlines()
    photos = {line.split(",")[0] for line in lines[1:]}
    assert all(photo.startswith("../../data/procedural/val/contents/") for photo in photos)  # which prepare makes
    for photo in photos:
        lines = [line.replace(photo, photo.rpartition("/")[2]) for line in lines]
        (tmp_path / photo.rpartition("/")[2]).touch()
    (tmp_path / "jobs.csv").write_text("\n".join(lines))
    jobs = JobTable(tmp_path / "jobs.csv").jobs("val")
    assert len(jobs) >= 20
    assert all(job.style and job.region and job.area for job in jobs)
    assert all(f"{job.style} style to the {job.region} in" in line for job, line in zip(jobs, lines[1:], strict=True))
