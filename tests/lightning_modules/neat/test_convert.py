"""Stand-ins for the public PAMA code's files, against its network written out under its own names, in float64."""

from typing import ClassVar

import pytest
import torch
from torch.nn.functional import conv2d, interpolate, pad

from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import start_from
from lightning_modules.errors import ImpastoError
from lightning_modules.neat import convert as mapping
from lightning_modules.neat.networks import Transform
from lightning_modules.networks.attention_generator import Generator

FIRST, SECOND, THIRD, FOURTH = CHANNELS = (4, 6, 10, 16)  # 64, 128, 256 and 512 in the public files
HIDDEN = FOURTH // 2
DECODER = {
    1: (FOURTH, THIRD), 5: (THIRD, THIRD), 8: (THIRD, THIRD), 11: (THIRD, THIRD), 14: (THIRD, SECOND),
    18: (SECOND, SECOND), 21: (SECOND, FIRST), 25: (FIRST, FIRST), 28: (FIRST, 3),
}  # fmt: skip
BLOCK = {
    "conv_in": (FOURTH, FOURTH, 3), "attn.f": (FOURTH, HIDDEN, 1), "attn.g": (FOURTH, HIDDEN, 1),
    "attn.h": (FOURTH, HIDDEN, 1), "attn.out_conv": (HIDDEN, FOURTH, 1), "fuse.proj1": (2 * FOURTH, FOURTH, 1),
    "fuse.proj2": (FOURTH, FOURTH, 1), "fuse.proj3": (FOURTH, FOURTH, 1), "fuse.fuse1x": (FOURTH, 1, 1),
    "fuse.fuse3x": (FOURTH, 1, 3), "fuse.fuse5x": (FOURTH, 1, 5), "conv_out": (FOURTH, FOURTH, 3),
}  # fmt: skip


class Bare(StyleTransferModule):
    """What of NeAT the mapping fills, and one part that only training needs."""

    conditions = frozenset({"text"})
    loss_parts: ClassVar[tuple[str, ...]] = ("style_head",)

    def __init__(self, weights: str = "pretrained") -> None:
        super().__init__()
        self.generator = Generator(Transform(FOURTH), CHANNELS)
        self.style_head = torch.nn.Linear(2, 2)

    def _render(self, content, manner):
        raise NotImplementedError

    def training_step(self, batch, batch_idx):
        raise NotImplementedError


def tensors(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, (inputs, outputs, side) in shapes.items():
        spread = (2 / (inputs * side**2)) ** 0.5
        state[f"{name}.weight"] = torch.randn(outputs, inputs, side, side, generator=generator) * spread
        state[f"{name}.bias"] = torch.randn(outputs, generator=generator)
    return state


@pytest.fixture
def states():
    """Fabricate what the public code saves."""
    files = {f"PAMA{number}.pth": tensors(BLOCK, number) for number in (1, 2, 3)}
    return files | {"decoder.pth": tensors({str(place): (*ends, 3) for place, ends in DECODER.items()}, 4)}


@pytest.fixture
def released(states, tmp_path, monkeypatch):
    """Write it, beside the frozen encoder, and let a bare generator stand for the method."""
    for file, state in states.items():
        torch.save(state, tmp_path / file)
    torch.save({"0.weight": torch.ones(3)}, tmp_path / "encoder.pth")
    monkeypatch.setattr(mapping, "RECIPE", {"class_path": f"{__name__}.Bare", "init_args": {"weights": "pretrained"}})
    return tmp_path


def layer(state, name, x, by=0):
    x = pad(x, (by, by, by, by), mode="reflect") if by else x
    return conv2d(x, state[f"{name}.weight"].double(), state[f"{name}.bias"].double())


def norm(x):
    flat = x.flatten(2)
    return (x - flat.mean(2)[..., None, None]) / (flat.var(2) + 1e-5).sqrt()[..., None, None]


def aligned(state, content, style):
    """The public code's block."""
    content, style = (layer(state, "conv_in", x, 1).clamp(0, 6) for x in (content, style))
    f = layer(state, "attn.f", norm(content)).clamp(0, 6).flatten(2).permute(0, 2, 1)
    g = layer(state, "attn.g", norm(style)).clamp(0, 6).flatten(2)
    h = layer(state, "attn.h", style).clamp(0, 6).flatten(2)
    gathered = torch.bmm(h, torch.bmm(f, g).softmax(-1).permute(0, 2, 1)).view(len(h), -1, *content.shape[2:])
    other = layer(state, "conv_out", layer(state, "attn.out_conv", gathered).clamp(0, 6), 1).clamp(0, 6)
    both = layer(state, "fuse.proj1", torch.cat((content, other), 1))
    masks = [layer(state, f"fuse.fuse{side}x", both, side // 2).sigmoid() for side in (1, 3, 5)]
    mask = sum(masks) / 3
    return mask * layer(state, "fuse.proj2", content) + (1 - mask) * layer(state, "fuse.proj3", other)


def decoded(state, x):
    """The public code's decoder."""
    for place in DECODER:
        x = layer(state, str(place), x, 1)
        x = x if place == 28 else x.relu()
        x = interpolate(x, scale_factor=2, mode="nearest") if place in (1, 14, 21) else x
    return x


def test_the_converted_network_paints_what_the_public_one_does_with_its_third_block_twice(released, states):
    result = mapping.convert(released)
    assert result.complete
    assert not result.unexpected
    assert len(result.mapped) == 4 * 2 * len(BLOCK) + 2 * len(DECODER)
    assert "note: the fourth block starts as a copy of the third" in result.report()
    model = Bare()
    model.load_state_dict(result.checkpoint["state_dict"], strict=True)
    painter = model.double().generator
    content, style = (torch.randn(1, FOURTH, *size, dtype=torch.float64) for size in ((3, 4), (5, 3)))
    expected = content
    for number in (1, 2, 3, 3):
        expected = aligned(states[f"PAMA{number}.pth"], expected, style)
    expected = decoded(states["decoder.pth"], expected)
    with torch.no_grad():
        maps = {"relu4_1": content}
        found = painter(maps, painter.transform.queries(maps), painter.style_keys({"relu4_1": style}))
    assert float((found - expected).norm()) <= 1e-6 * float(expected.norm())


def test_a_fit_can_start_from_the_converted_file(released, tmp_path, monkeypatch):
    monkeypatch.setattr(Bare, "method", "neat")
    converted = mapping.convert(released).checkpoint
    torch.save(converted, tmp_path / "neat.ckpt")
    model = Bare()
    assert start_from(model, tmp_path / "neat.ckpt") == (["generator", "style_head"], [], [])
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in converted["state_dict"].items())


@pytest.mark.parametrize("lost", ["PAMA2.pth", "decoder.pth"])
def test_another_folder_is_one_sentence_that_names_what_is_not_there(released, lost):
    (released / lost).unlink()
    with pytest.raises(ImpastoError, match=f"holds PAMA1.pth, .*: there is no {lost}\\.$"):
        mapping.convert(released)
    with pytest.raises(ImpastoError, match=r"there is no PAMA1\.pth, PAMA2\.pth, PAMA3\.pth, decoder\.pth"):
        mapping.convert(released / "PAMA1.pth")


def test_tensors_that_are_missing_strange_or_of_another_shape_are_told_and_nothing_is_made(released, states):
    third = dict(states["PAMA3.pth"]) | {"surprise.weight": torch.zeros(1), "fuse.proj1.bias": torch.zeros(3)}
    del third["attn.h.bias"]
    torch.save(third, released / "PAMA3.pth")
    result = mapping.convert(released)
    assert not result.complete
    assert not result.checkpoint
    for number in (2, 3):
        assert f"missing: generator.transform.blocks.{number}.value.bias" in result.report()
        assert f"mis-shaped: generator.transform.blocks.{number}.fusion.joint.bias" in result.report()
    assert "unexpected: blocks.2.surprise.weight" in result.report()


def test_files_are_read_without_running_code_from_them(released):
    torch.save({"conv_in.weight": torch.ones(1), "epoch": pytest.approx}, released / "PAMA1.pth")
    with pytest.raises(ImpastoError, match=r"PAMA1\.pth cannot be read safely"):
        mapping.convert(released)
