import pytest
import torch

from experiments.cli import execute


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense", "--from", "x.pth"], "no conversion for 'nonsense'; there is one for"),
        (["clast", "--from", "missing.pth"], "missing.pth"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(tmp_path, capsys, arguments, words):
    assert execute(["convert", *arguments, "--out", str(tmp_path / "out.ckpt")]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.ckpt").exists()


def test_a_file_of_other_weights_writes_nothing(tmp_path, capsys):
    other, out = tmp_path / "other.pth", tmp_path / "out.ckpt"
    torch.save({"somewhere.else": torch.zeros(3)}, other)
    assert execute(["convert", "clast", "--from", str(other), "--out", str(out)]) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert not out.exists()
