import sys

import numpy as np
import pytest

from experiments.cli import execute
from experiments.commands import demo
from lightning_modules.errors import ImpastoError


def test_without_gradio_the_extra_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert execute(["demo", "--runs", str(tmp_path)]) == 1
    assert "impasto[demo]" in capsys.readouterr().err


def test_it_paints_an_upload(trained):
    checkpoints = demo.find_checkpoints(trained.parents[1])
    assert len(checkpoints) == 1
    photograph = np.zeros((9, 12, 3), dtype=np.uint8)
    painting = demo.stylize(checkpoints[0], photograph, "a", None, None, 0, {}, device="cpu")
    assert painting.shape == photograph.shape
    assert painting.dtype == np.uint8
    large = demo.stylize(checkpoints[0], photograph, "a", None, None, 18, {"alpha": 0.5}, device="cpu")
    assert large.shape == (18, 24, 3)
    with pytest.raises(ImpastoError, match="Upload"):
        demo.stylize(checkpoints[0], None, "a", None, None, 0, {}, device="cpu")
