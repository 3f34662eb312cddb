import json

import pytest
import torch
from torch import nn

from lightning_modules.networks.export import export, half_precision


def test_a_file_holds_what_half_precision_leaves(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    path = tmp_path / "deep" / "net.safetensors"
    export(network, {"artists": ["A"], "widths": (4,)}, path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["net.json", "net.safetensors"]
    assert json.loads(path.with_suffix(".json").read_text()) == {"artists": ["A"], "widths": [4]}
    assert path.stat().st_mode & 0o777 == 0o644

    from safetensors.torch import load_file

    stored = load_file(path)
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}
    half_precision(network)
    for name, value in network.state_dict().items():
        assert value.dtype in (torch.float32, torch.int64)
        assert torch.equal(value, stored[name].to(value.dtype)), name


def test_a_failure_leaves_both_older_files_alone(tmp_path):
    path = tmp_path / "net.safetensors"
    export(nn.Linear(2, 2), {"version": 1}, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        export(nn.Linear(2, 2), {"version": object()}, path)
    assert path.read_bytes() == before
    assert json.loads(path.with_suffix(".json").read_text()) == {"version": 1}
