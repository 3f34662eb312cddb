import pytest
import torch
from torch import nn

from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.conversion import convert_state, read_state
from lightning_modules.errors import ImpastoError


class Toy(StyleTransferModule):
    conditions = frozenset({"text"})

    def __init__(self, weights: str = "pretrained") -> None:
        super().__init__()
        if weights != "random":
            raise ImpastoError("Only random weights are here.")
        self.body = nn.Linear(2, 2)
        self.head = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))

    def _render(self, content, manner):
        return content

    def training_step(self, batch, batch_idx):
        raise NotImplementedError


RECIPE = {"class_path": f"{Toy.__module__}.Toy", "init_args": {"weights": "pretrained"}}


def rename(name):
    return None if name.startswith("vgg.") else name.replace("trunk.", "body.")


STATE = {"trunk.weight": torch.rand(2, 2), "trunk.bias": torch.rand(2), "vgg.weight": torch.rand(9)}


def test_optional_tensors_and_buffers_keep_their_fresh_values():
    result = convert_state(STATE, RECIPE, rename, optional=("head.",))
    assert result.complete
    assert sorted(result.mapped) == ["body.bias", "body.weight"]
    assert result.ignored == ["vgg.weight"]
    assert torch.equal(result.checkpoint["state_dict"]["body.weight"], STATE["trunk.weight"])
    assert {"head.weight", "mean"} <= set(result.checkpoint["state_dict"])
    assert "2 tensors, ignored 1" in result.report()


def test_without_them_the_conversion_is_not_complete_and_gives_no_checkpoint():
    result = convert_state(STATE, RECIPE, rename)
    assert result.missing == ["head.weight", "head.bias"]
    assert not result.complete
    assert result.checkpoint == {}


def test_the_module_is_built_with_random_weights_and_the_recipe_keeps_the_users(tmp_path):
    torch.save(convert_state(STATE, RECIPE, rename, optional=("head.",)).checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(ImpastoError, match="Only random weights are here"):
        load_checkpoint(tmp_path / "a.ckpt")


def test_read_state_takes_plain_and_nested_files_and_leaves_out_what_is_no_tensor(tmp_path):
    torch.save({**STATE, "epoch": 3}, tmp_path / "plain.pth")
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "nested.ckpt")
    for name in ("plain.pth", "nested.ckpt"):
        assert sorted(read_state(tmp_path / name)) == sorted(STATE)


def test_read_state_runs_no_code(tmp_path):
    torch.save({"weight": torch.ones(1), "code": print}, tmp_path / "evil.pth")
    with pytest.raises(ImpastoError, match="cannot be read safely"):
        read_state(tmp_path / "evil.pth")
