"""The few pictures that lie in the repository."""

import csv

import pytest
from PIL import Image

from experiments.leaderboard.thumbnails import SIDE, write_thumbnails

CONTENTS, PAINTERS = "abcdefgh", ("Ada", "Bo", "Cy", "Di", "Ed", "Flo")


@pytest.fixture
def evaluation(tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    for name in (*CONTENTS, "painted"):
        Image.new("RGB", (300, 200), "teal").save(folder / f"{name}.png")
    lines = ["id,stylized,content,style,truth,artist,prompt,seconds"]
    for number, (content, painter) in enumerate((c, p) for c in CONTENTS for p in PAINTERS):
        lines.append(f"{number:04},painted.png,{content}.png,a.png,,{painter},{painter},1")
    (folder / "evaluation.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_no_content_and_no_painter_is_shown_twice_and_all_are_small(evaluation, tmp_path):
    out = tmp_path / "out"
    for key in ("one", "two"):
        write_thumbnails(evaluation, out, key)
    rows = list(csv.DictReader((out / "one" / "evaluation.csv").open()))
    assert [row["id"] for row in rows] == ["0000", "0013", "0027", "0040"]
    assert [row["prompt"] for row in rows] == ["Ada", "Bo", "Di", "Ed"]
    pictures = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))
    given = [f"given/{row['id']}-{kind}.jpg" for row in rows for kind in ("content", "style")]
    assert pictures == sorted([*given, *(f"{key}/{row['id']}.jpg" for row in rows for key in ("one", "two"))])
    assert all(row["truth"] == "" for row in rows)
    for row in rows:
        for column in ("stylized", "content", "style"):
            with Image.open(out / "one" / row[column]) as picture:
                assert max(picture.size) == SIDE
