import pytest

from experiments.cli import execute


@pytest.mark.parametrize("sheet", ["art/train/contents/sheet.png", "link/sheet.png"])
def test_the_contact_sheet_stays_out_of_the_data_set(tmp_path, monkeypatch, capsys, sheet):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "art").mkdir()
    (tmp_path / "link").symlink_to("art", target_is_directory=True)
    arguments = ["--out", "art", "--train", "1", "--val", "1", "--test", "1", "--size", "16", "--contact-sheet", sheet]
    assert execute(["prepare", "procedural", *arguments]) == 1
    assert "would lie in the data set" in capsys.readouterr().err
    assert not list((tmp_path / "art").iterdir())
