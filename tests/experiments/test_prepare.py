import pytest

from experiments.cli import execute
from experiments.commands import prepare, summary


@pytest.mark.parametrize("path", prepare.datasets().values(), ids=prepare.datasets())
def test_every_data_set_says_what_it_does(path, capsys):
    assert summary(path).endswith(".")
    with pytest.raises(SystemExit, match="0"):
        execute(["prepare", "--help"])
    sentence = summary(path).removesuffix(".")
    assert sentence[:1].lower() + sentence[1:] in " ".join(capsys.readouterr().out.split())


def test_a_data_set_is_found_by_its_file_and_its_folder_is_the_last_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--out", "art", "--train", "1", "--val", "1", "--test", "1", "--size", "16", "--quiet"]
    assert execute(["prepare", "procedural", *arguments]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "art"
    assert {"procedural", "nsync"} <= set(prepare.datasets())


def test_a_wrong_option_is_told_from_a_right_one(capsys):
    assert execute(["prepare", "nsync", "--images", "monet", "--catagory", "painting"]) == 2
    assert "does not take --catagory" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        execute(["prepare"])
