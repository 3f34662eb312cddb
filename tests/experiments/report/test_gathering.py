"""What a report is made of where some of it cannot be read."""

import json
import shutil
from pathlib import Path

import pytest

from experiments.report.gathering import gather
from experiments.report.painted import read_painted
from experiments.report.records import checked_summary


@pytest.fixture
def closed(monkeypatch):
    """Let nobody, root included, look into a folder called closed."""
    stat = Path.stat

    def refuse(path, **options):
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)


def test_a_folder_that_may_not_be_read_is_named_and_the_others_are_read(trained, tmp_path, closed):
    shutil.copytree(trained, tmp_path / "m/open")
    (tmp_path / "m/closed").mkdir()
    found = gather([str(tmp_path)], tmp_path)
    assert [run.name for run in found.runs] == ["open"]
    (sentence,) = found.damaged
    assert sentence.startswith(str(tmp_path / "m/closed/"))
    assert sentence.endswith("cannot be read (Permission denied).")


@pytest.mark.parametrize("table", [b"id,content\n0,caf\xe9\n", b"id\n\0\n"])
def test_a_damaged_table_of_pairs_has_no_pictures(measured, table):
    (Path(measured.place) / "evaluation.csv").write_bytes(table)
    assert read_painted(measured) == []


@pytest.fixture
def measured(tmp_path):
    said = {
        "format": 1, "method": "m", "checkpoint": {"path": "a.ckpt", "sha256": "1"}, "metrics": {},
        "protocol": {"name": "p", "sha256": "1"},
    }  # fmt: skip
    (tmp_path / "evaluation.json").write_text(json.dumps(said))
    (evaluation,) = gather([str(tmp_path)], tmp_path).evaluations
    return evaluation


@pytest.mark.parametrize("part", [{"seconds": float("nan")}, {"seed": "x"}, {"seconds": "long"}])
def test_a_summary_that_nobody_can_count_with_is_damaged(part):
    with pytest.raises((TypeError, ValueError)):
        checked_summary({"method": "m", **part})
