import csv
import json
from pathlib import Path

from experiments.scoring.measure import Score
from experiments.scoring.pairs import Pair
from experiments.scoring.tables import render_per_image, render_table

SCORES = [
    Score("ssim", 0.4340238571, "higher", 6, "SSIM, K = (0.01, 0.03)"),
    Score("lpips_embedded", 1.5e-9, "lower", 6, 'a "convention", with | and comma'),
    Score("deception_floor", 0.1, "none", 5, "of the contents: share"),
]


def test_json_keeps_every_digit():
    table = json.loads(render_table(SCORES, ".json"))
    assert list(table) == [score.key for score in SCORES]
    assert table["ssim"] == {
        "value": 0.4340238571, "better": "higher", "pictures": 6, "convention": "SSIM, K = (0.01, 0.03)"
    }  # fmt: skip


def test_csv_and_markdown_hold_the_same():
    rows = list(csv.DictReader(render_table(SCORES, ".CSV").splitlines()))
    assert [row["metric"] for row in rows] == [score.key for score in SCORES]
    assert [float(row["value"]) for row in rows] == [score.value for score in SCORES]
    assert [row["convention"] for row in rows] == [score.convention for score in SCORES]
    lines = render_table(SCORES, ".md").splitlines()
    assert len(lines) == 2 + len(SCORES)
    assert lines[2] == "| `ssim` | ↑ | 0.434024 | 6 | SSIM, K = (0.01, 0.03) |"
    assert lines[3].startswith("| `lpips_embedded` | ↓ | 1.5e-09 | 6 | a")
    assert "with \\| and comma" in lines[3]
    assert lines[4].startswith("| `deception_floor` |  | 0.1 | 5 |")


def test_values_of_every_picture():
    pairs = [Pair(Path("a.png"), Path("c.png"), artist="Ada"), Pair(Path("b.png"), Path("c.png"), artist="Bo")]
    text = render_per_image(pairs, [{"ssim": 0.5, "deception": 1.0}, {"ssim": 0.25, "deception": float("nan")}])
    assert list(csv.reader(text.splitlines())) == [
        ["stylized", "content", "artist", "ssim", "deception"],
        ["a.png", "c.png", "Ada", "0.5", "1.0"],
        ["b.png", "c.png", "Bo", "0.25", ""],
    ]
