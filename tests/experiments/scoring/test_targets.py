import os
from pathlib import Path

import pytest

from experiments.scoring import targets
from experiments.scoring.targets import check_targets, write_all
from lightning_modules.errors import ImpastoError

TABLES = (".json", ".csv", ".md")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["t.txt", "t", "folder.json"])
def test_a_name_of_another_kind_is_one_sentence(here, name):
    (here / "folder.json").mkdir()
    with pytest.raises(ImpastoError, match=r"cannot be written: its name must end in .json or .csv or .md"):
        check_targets({Path(name): TABLES}, [])


@pytest.mark.parametrize("name", ["file/t.json", "file/deep/t.json", f"{'x' * 300}.json", "/proc/t.json"])
def test_a_place_that_cannot_be_written_is_one_sentence(here, name):
    (here / "file").touch()
    with pytest.raises(ImpastoError, match=r"cannot be written .*: choose another place") as caught:
        check_targets({Path(name): TABLES}, [])
    assert "\n" not in str(caught.value)


def test_looking_leaves_nothing_behind(here):
    check_targets({Path("deep/er/t.json"): TABLES, Path("deep/p.csv"): (".csv",)}, [Path("a.png")])
    assert list(here.iterdir()) == []


def test_no_file_of_the_command_is_replaced(here):
    (here / "pairs.csv").touch()
    os.link("pairs.csv", "hard.csv")
    (here / "soft.csv").symlink_to("pairs.csv")
    for name in ("pairs.csv", "./pairs.csv", str(here / "pairs.csv"), "hard.csv", "soft.csv"):
        with pytest.raises(ImpastoError, match="would overwrite"):
            check_targets({Path(name): TABLES}, [Path("pairs.csv")])
    with pytest.raises(ImpastoError, match="would overwrite"):
        check_targets({Path("t.csv"): TABLES, Path("x/../t.csv"): (".csv",)}, [])
    check_targets({Path("other.csv"): TABLES}, [Path("pairs.csv")])


def test_all_are_written(here):
    write_all({Path("deep/t.json"): "1", Path("p.csv"): "ä\n"})
    assert (here / "deep/t.json").read_text() == "1"
    assert (here / "p.csv").read_bytes() == "ä\n".encode()
    assert sorted(p.name for p in here.rglob("*")) == ["deep", "p.csv", "t.json"]


@pytest.mark.parametrize("blocked", ["t.json", "p.csv"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_or_none(here, blocked, before):
    """A folder that took the name of one after it was looked at: the other is what it was."""
    other = here / {"t.json": "p.csv", "p.csv": "t.json"}[blocked]
    if before is not None:
        other.write_bytes(before)
    (here / blocked / "inside").mkdir(parents=True)
    with pytest.raises(ImpastoError, match=f"{blocked} cannot be written"):
        write_all({Path("t.json"): "1", Path("p.csv"): "2"})
    assert (other.read_bytes() if other.exists() else None) == before
    names = {blocked, *([other.name] if before is not None else [])}
    assert {path.name for path in here.iterdir()} == names


def test_an_interrupt_leaves_what_was_there(here, monkeypatch):
    (here / "t.json").write_text("old")

    def interrupted(path):
        if path.name == "p.csv":
            raise KeyboardInterrupt
        return replacing(path)

    replacing = targets.replacing
    monkeypatch.setattr(targets, "replacing", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_all({Path("t.json"): "1", Path("p.csv"): "2"})
    assert [path.name for path in here.iterdir()] == ["t.json"]
    assert (here / "t.json").read_text() == "old"
