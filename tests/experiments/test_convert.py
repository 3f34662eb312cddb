from types import SimpleNamespace

import pytest
import torch

from experiments.cli import execute
from experiments.commands import convert


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


@pytest.mark.parametrize("complete", [True, False])
def test_only_a_complete_conversion_is_written(tmp_path, monkeypatch, capsys, complete):
    conversion = SimpleNamespace(complete=complete, checkpoint={"x": torch.ones(2)}, report=lambda: "mapped 1 tensor")
    monkeypatch.setattr(convert, "_mapping", lambda _: SimpleNamespace(convert=lambda _: conversion))
    out = tmp_path / "new/out.ckpt"
    status = execute(["convert", "clast", "--from", str(tmp_path / "released.pth"), "--out", str(out)])
    written = capsys.readouterr()
    assert "mapped 1 tensor" in written.out
    assert (status, out.exists()) == ((0, True) if complete else (1, False))
    if complete:
        assert written.out.splitlines()[-1] == str(out)
        assert torch.equal(torch.load(out, weights_only=True)["x"], torch.ones(2))
    else:
        assert "nothing was written" in written.err


def test_released_weights_are_never_overwritten(tmp_path, capsys):
    (tmp_path / "weights").mkdir()
    released = tmp_path / "weights/decoder_iter_1.pth"
    released.write_bytes(b"released")
    (tmp_path / "link.ckpt").symlink_to(released)
    for source in (released, released.parent):
        for out in (released, tmp_path / "link.ckpt"):
            assert execute(["convert", "contraast", "--from", str(source), "--out", str(out)]) == 1
            assert "would overwrite" in capsys.readouterr().err
    assert released.read_bytes() == b"released"
