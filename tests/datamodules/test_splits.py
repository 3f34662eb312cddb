from pathlib import Path
from typing import NamedTuple

import pytest

from datamodules.splits import in_split
from lightning_modules.errors import ImpastoError

ROOT = Path("art")


class Work(NamedTuple):
    path: Path


WORKS = [Work(ROOT / "ada" / f"{name}.jpg") for name in ("dots", "café", "lines", "other")]
TABLE = "path,split,style\nada/dots.jpg,train,x\nada/cafe\u0301.jpg,val,x\nada/lines.jpg,train,x\n"


def names(tmp_path, split, table=TABLE):
    (tmp_path / "pictures.csv").write_text(table, encoding="utf-8")
    return [work.path.stem for work in in_split(WORKS, split, tmp_path / "pictures.csv", ROOT)]


def test_each_is_in_the_split_that_the_table_says_and_the_rest_in_none(tmp_path):
    assert names(tmp_path, "train") == ["dots", "lines"]
    assert names(tmp_path, "val") == names(tmp_path, "test") == ["café"]  # whichever way its accent is written
    assert names(tmp_path, "test", TABLE + "ada/other.jpg,test,x\n") == ["other"]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("path,style\nada/dots.jpg,x\n", "has no columns path and split"),
        ("", "has no columns path and split"),
        ("path,split\nada/dots.jpg,train\n", "has nothing of art in the split 'val'"),
    ],
)
def test_a_table_of_something_else_is_one_sentence(tmp_path, table, sentence):
    with pytest.raises(ImpastoError, match=sentence):
        names(tmp_path, "val", table)


def test_a_table_that_is_missing_or_no_text_is_one_sentence(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"path,split\n\xff\xfe\n")
    for name in ("nowhere.csv", "binary.csv"):
        with pytest.raises(ImpastoError, match="cannot be read"):
            in_split(WORKS, "train", tmp_path / name, ROOT)
