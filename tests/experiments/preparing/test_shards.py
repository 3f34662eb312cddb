import argparse
import io
import tarfile

import pytest
from PIL import Image

from datamodules.shards import Shards
from experiments.preparing import shards
from lightning_modules.errors import ImpastoError


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for number in range(3):
            file = io.BytesIO()
            Image.new("RGB", (8, 8)).save(file, "PNG")
            info = tarfile.TarInfo(f"{number:09d}.png")
            info.size = file.tell()
            tar.addfile(info, io.BytesIO(file.getvalue()))
    return folder


def _run(*words):
    parser = argparse.ArgumentParser()
    shards.add_arguments(parser)
    return shards.main(parser.parse_args([str(word) for word in words]))


def test_the_command_writes_shards_that_a_source_reads(archive, tmp_path):
    out = _run("--archive", archive, "--out", tmp_path / "out")
    assert out == tmp_path / "out"
    assert len(Shards(out, holdout=0).contents("train")) == 3


@pytest.mark.parametrize("option", ["--chunk-mib", "--workers"])
def test_numbers_below_one_are_refused(archive, tmp_path, option):
    with pytest.raises(ImpastoError, match="must be at least 1"):
        _run("--archive", archive, "--out", tmp_path / "out", option, 0)
    assert not (tmp_path / "out").exists()
