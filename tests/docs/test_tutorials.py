"""The tutorials do what they say: their files are written, and their commands run, in an empty folder."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import lightning_modules
from experiments.cli import execute
from experiments.training import main
from lightning_modules.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs/tutorials"
FILE = re.compile(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(tutorial):
    """Return the files that a tutorial lets its reader write, by name."""
    return dict(FILE.findall((TUTORIALS / f"{tutorial}.md").read_text()))


def commands(tutorial):
    """Return the command lines of a tutorial, those that go on in the next line as one."""
    blocks = COMMANDS.findall((TUTORIALS / f"{tutorial}.md").read_text())
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture
def beginner(tmp_path, monkeypatch):
    """Return a function that follows a tutorial in a folder where a photograph is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    Image.linear_gradient("L").resize((128, 96)).convert("RGB").save("photo.jpg")

    def follow(tutorial):
        for name, text in files(tutorial).items():
            Path(name).write_text(text)
        for line in commands(tutorial):
            program, *arguments = shlex.split(line)
            assert program == "impasto", line
            assert execute(arguments) == 0, line
        return tmp_path

    return follow


def test_a_beginner_paints(beginner):
    folder = beginner("paint")
    sizes = {name: Image.open(folder / f"{name}.png").size for name in ("vitrail", "dots", "like-vitrail")}
    assert sizes["vitrail"] == (128, 96)
    assert sizes["dots"] == (128, 96)
    assert (folder / "vitrail.png").read_bytes() != (folder / "dots.png").read_bytes()
    (code,) = PYTHON.findall((TUTORIALS / "paint.md").read_text())
    subprocess.run([sys.executable, "-c", code], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)  # noqa: S603
    assert Image.open(folder / "from-python.png").size == (128, 96)


def test_a_beginner_trains_resumes_and_compares(beginner):
    folder = beginner("train")
    runs = folder / "runs/adain"
    assert {"first", "stronger"} <= {run.name for run in runs.iterdir()}
    assert "stronger" in (folder / "report/table.csv").read_text()
    steps = [line.split(",")[0] for line in (runs / "first/metrics.csv").read_text().splitlines()]
    assert len(steps) > 2
    assert Image.open(folder / "painted.png").size == (128, 96)


@pytest.fixture
def own_method(tmp_path, monkeypatch):
    """Write the method of its tutorial beside the package, where imports find it, and return its tiny profile."""
    for name, text in files("method").items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(
        lightning_modules, "__path__", [*lightning_modules.__path__, str(tmp_path / "lightning_modules")]
    )
    yield tmp_path / "experiments/wct/tiny.yaml"
    for name in [name for name in sys.modules if name.startswith("lightning_modules.wct")]:
        del sys.modules[name]


def test_the_method_of_the_tutorial_trains_and_paints(own_method, small_data, quiet_trainer, tmp_path):
    smoke = ROOT / "experiments/overlays/smoke.yaml"
    options = [word for file in (own_method, smoke, small_data) for word in ("--config", str(file))]
    cli = main(["fit", *options, "--trainer.logger", "false"], run=False)
    trainer = quiet_trainer(max_steps=3, limit_val_batches=1)
    trainer.fit(cli.model, datamodule=cli.datamodule)
    assert cli.model.method == "wct"
    assert cli.model.validate_with == "image"
    trainer.save_checkpoint(tmp_path / "wct.ckpt")
    painter = load_checkpoint(tmp_path / "wct.ckpt")
    content, style = torch.rand(2, 1, 3, 50, 70, generator=torch.Generator().manual_seed(0))
    plain, painted = (painter.stylize(content, style=style**3, alpha=alpha) for alpha in (0, 1))
    assert float((plain - painted).abs().mean()) > 1e-3


def test_the_transform_of_the_tutorial_gives_the_covariance_of_the_style(own_method):
    whiten_and_colour = importlib.import_module("lightning_modules.wct.networks").whiten_and_colour
    generator = torch.Generator().manual_seed(0)
    content = torch.rand(1, 4, 12, 10, generator=generator)
    style = torch.rand(1, 4, 9, 11, generator=generator) ** 2 * 3
    coloured = whiten_and_colour(content, style, eps=1e-12)
    assert torch.allclose(coloured[0].flatten(1).cov(), style[0].flatten(1).cov(), atol=1e-4)
    assert torch.allclose(coloured.mean((2, 3)), style.mean((2, 3)), atol=1e-5)
