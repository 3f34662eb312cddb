"""The small JSON of a row and a seed."""

import pytest

from experiments.leaderboard.records import Record, read_pairs, read_record, read_samples, write_record
from experiments.leaderboard.runs import identity
from lightning_modules.errors import ImpastoError

RECORD = Record(
    "a", 3, {"name": "A", "evaluation": None},
    {"m": {"mean": 1 / 3, "low": None, "high": 0.5, "better": "higher"}},
    {"content": [0, 0, 1], "style": [0, 1, 0], "m": [0.25, None, 1.0]},
)  # fmt: skip


def test_what_is_written_is_read_and_the_pairs_of_a_metric_are_one_line(tmp_path):
    path = tmp_path / "a-3.json"
    write_record(RECORD, path)
    assert '\n    "m": [0.25, null, 1.0]\n' in path.read_text()
    found = read_record(path)
    assert (found.key, found.seed, found.about, found.pairs) == ("a", 3, RECORD.about, RECORD.pairs)
    assert found.metrics["m"] == {"mean": 0.3333333, "low": None, "high": 0.5, "better": "higher"}
    write_record(Record("b", 0, {}, {}, {}), path)
    assert read_record(path).pairs == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"format": 1', '"format": 2'),
        ("[0, 1, 0]", "[0, 1]"),
        (
            "{",
            "",
        ),
    ],
)
def test_a_damaged_record_is_one_sentence(tmp_path, old, new):
    path = tmp_path / "a-3.json"
    write_record(RECORD, path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ImpastoError, match=r"a-3\.json is damaged"):
        read_record(path)


def test_runs_are_one_but_for_seed_name_and_machine():
    source = {"class_path": "S", "init_args": {"root": "a"}}
    settings = {
        "seed_everything": 1, "run_name": "x", "wandb": "auto", "profile": "tiny",
        "model": {"class_path": "M", "init_args": {"lr": 0.1}},
        "data": {"class_path": "D", "init_args": {"content": source, "size": 8}},
        "trainer": {"max_steps": 5, "accelerator": "cpu", "precision": "32-true"},
    }  # fmt: skip
    assert identity(settings) == {
        "model.class_path": "M", "model.lr": 0.1, "data.class_path": "D", "data.content.class_path": "S",
        "data.size": 8, "trainer.max_steps": 5, "trainer.precision": "32-true",
    }  # fmt: skip


def test_tables_without_rows(tmp_path):
    (tmp_path / "per_sample.csv").write_text("index,ssim\n")
    assert read_samples(tmp_path, ["val/ssim"]) == {}
    (tmp_path / "evaluation.csv").write_text("id,content,style,ssim\n")
    with pytest.raises(ImpastoError, match=r"evaluation.csv has no rows: run the evaluation again"):
        read_pairs(tmp_path, {"ssim": {"better": "higher"}})
