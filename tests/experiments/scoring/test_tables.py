import csv
import json
from pathlib import Path

import pytest

from experiments.scoring.measure import Score
from experiments.scoring.pairs import Pair
from experiments.scoring.tables import write_per_image, write_table
from lightning_modules.errors import ImpastoError

SCORES = [
    Score("ssim", 0.4340238571, "higher", 6, "SSIM, K = (0.01, 0.03)"),
    Score("lpips_embedded", 1.5e-9, "lower", 6, 'a "convention", with | and comma'),
    Score("deception_floor", 0.1, "none", 5, "of the contents: share"),
]


def test_json_keeps_every_digit(tmp_path):
    write_table(SCORES, tmp_path / "deep" / "t.json")
    table = json.loads((tmp_path / "deep" / "t.json").read_text())
    assert list(table) == [score.key for score in SCORES]
    assert table["ssim"] == {
        "value": 0.4340238571, "better": "higher", "pictures": 6, "convention": "SSIM, K = (0.01, 0.03)"
    }  # fmt: skip


def test_csv_and_markdown_hold_the_same(tmp_path):
    for suffix in ("csv", "md"):
        write_table(SCORES, tmp_path / f"t.{suffix}")
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [row["metric"] for row in rows] == [score.key for score in SCORES]
    assert [float(row["value"]) for row in rows] == [score.value for score in SCORES]
    assert [row["convention"] for row in rows] == [score.convention for score in SCORES]
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert len(lines) == 2 + len(SCORES)
    assert lines[2] == "| `ssim` | ↑ | 0.434024 | 6 | SSIM, K = (0.01, 0.03) |"
    assert "with \\| and comma" in lines[3]
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


def test_values_of_every_picture(tmp_path):
    pairs = [Pair(Path("a.png"), Path("c.png"), artist="Ada"), Pair(Path("b.png"), Path("c.png"), artist="Bo")]
    write_per_image(
        pairs, [{"ssim": 0.5, "deception": 1.0}, {"ssim": 0.25, "deception": float("nan")}], tmp_path / "p.csv"
    )
    assert list(csv.reader((tmp_path / "p.csv").open())) == [
        ["stylized", "content", "artist", "ssim", "deception"],
        ["a.png", "c.png", "Ada", "0.5", "1.0"],
        ["b.png", "c.png", "Bo", "0.25", ""],
    ]


@pytest.mark.parametrize("name", ["t.txt", "t", "folder.json"])
def test_a_name_that_cannot_be_written_is_one_sentence(tmp_path, name):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ImpastoError, match=r"cannot be written: its name must end in .json or .csv or .md"):
        write_table(SCORES, tmp_path / name)
