"""A tiny profile on one's own paintings, of which no classifier knows the artists."""

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.cli import execute
from experiments.painting.inference import find_checkpoint


@pytest.fixture
def own(tmp_path):
    rng = np.random.default_rng(0)
    for artist in ("Ann", "Bob", "Cid"):
        for number in range(4):
            path = tmp_path / "paintings" / artist / f"{artist}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((96, 96)).save(path)
    overlay = tmp_path / "own.yaml"
    content = f"{{class_path: datamodules.sources.ImageFolder, init_args: {{root: {tmp_path}/paintings}}}}"
    style = f"{{class_path: datamodules.sources.WikiArt, init_args: {{root: {tmp_path}/paintings}}}}"
    overlay.write_text(
        "data:\n  class_path: datamodules.style_transfer.StyleTransferDataModule\n  init_args:\n"
        f"    content: {content}\n    style: {style}\n    size: 64\n    batch_size: 3\n    artists_per_batch: 3\n"
        "    batches_per_epoch: 2\n    val_size: 64\n    val_batch_size: 2\n    val_contents: 2\n"
        "trainer: {max_steps: 2, val_check_interval: 2}\n"
    )
    return overlay


def test_the_best_is_found_by_what_can_be_measured(own, tiny, tmp_path, caplog):
    options = tiny("contraast", own)
    assert execute(["fit", *options, "--runs_dir", str(tmp_path / "runs"), "--run_name", "a"]) == 0
    told = [record.getMessage() for record in caplog.records if "best.ckpt" in record.getMessage()]
    assert told == [
        "best.ckpt follows val/style_loss_embedded (lower is better), because val/deception_embedded is not measured "
        "here."
    ]
    folder = tmp_path / "runs/contraast/a"
    best = find_checkpoint(folder)
    assert best.name == "best.ckpt"
    assert torch.load(best, weights_only=True)["global_step"] == 2
