import csv
from types import SimpleNamespace

import torch

from callbacks.tables import sample_rows, write_csv

COLUMNS = {
    "ssim": torch.tensor([0.5, torch.nan]),
    "lpips": torch.tensor([torch.nan, torch.nan]),
    "seam": torch.tensor([0.25, 1.0]),
}


def rows(datamodule=None):
    indices, groups = torch.tensor([3, 8]), torch.tensor([1, 0])
    return sample_rows(indices, groups, COLUMNS, {0: "Ada", 1: "Bo"}, datamodule, "test")


def test_a_row_is_a_sample_and_what_has_no_value_is_empty():
    assert rows() == [
        {"index": 3, "artist": "Bo", "ssim": 0.5, "seam": 0.25},
        {"index": 8, "artist": "Ada", "ssim": "", "seam": 1.0},
    ]


def test_the_data_module_says_what_a_sample_is(tmp_path):
    about = SimpleNamespace(describe=lambda index, split: {"job": f"{split}{index}"})
    write_csv(rows(about), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["job"] for row in table] == ["test3", "test8"]
    assert list(table[0]) == ["index", "artist", "job", "ssim", "seam"]
