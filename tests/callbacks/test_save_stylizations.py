from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

from callbacks.save_stylizations import SaveStylizations


def trainer(folder, fn=TrainerFn.VALIDATING, **changes):
    given = {"log_dir": str(folder), "sanity_checking": False, "is_global_zero": True, "datamodule": None}
    return SimpleNamespace(**given | changes, state=SimpleNamespace(fn=fn))


def outputs():
    pictures = torch.linspace(0, 1, 3)[:, None, None, None].expand(3, 3, 4, 5)
    return {"stylized": pictures, "index": torch.tensor([0, 7, 2])}


def run(callback, stage, about, given):
    getattr(callback, f"on_{stage}_epoch_start")(about, None)
    getattr(callback, f"on_{stage}_batch_end")(about, None, given, None, 0)


@pytest.mark.parametrize("stage", ["validation", "test", "predict"])
def test_every_picture_becomes_a_file_named_by_its_index(tmp_path, stage):
    run(SaveStylizations(), stage, trainer(tmp_path), outputs())
    results = tmp_path / "results"
    assert sorted(path.name for path in results.iterdir()) == ["000000.png", "000002.png", "000007.png"]
    assert np.array(Image.open(results / "000002.png")).tolist() == [[[255] * 3] * 5] * 4


def test_the_data_module_names_files_and_masks_lie_beside(tmp_path):
    asked = []

    def describe(index, split):
        asked.append((index, split))
        return {"job": f"job{index}"}

    given = outputs() | {"mask": torch.ones(3, 1, 4, 5)}
    about = trainer(tmp_path, TrainerFn.TESTING, datamodule=SimpleNamespace(describe=describe))
    run(SaveStylizations(), "test", about, given)
    assert asked == [(0, "test"), (7, "test"), (2, "test")]
    assert (tmp_path / "results/job7.png").is_file()
    assert np.array(Image.open(tmp_path / "results/job7_mask.png")).min() == 255


def test_a_sanity_check_writes_nothing(tmp_path):
    run(SaveStylizations(), "validation", trainer(tmp_path, sanity_checking=True), outputs())
    assert not list(tmp_path.iterdir())
    run(SaveStylizations(), "predict", trainer(None, log_dir=None), outputs())  # a run without records
