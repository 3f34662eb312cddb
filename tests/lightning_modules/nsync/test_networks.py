import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lightning_modules.errors import ImpastoError
from lightning_modules.nsync.lora import LoRA, RoleLinear
from lightning_modules.nsync.networks import Copies, TextualInversion
from lightning_modules.nsync.settings import LoRASettings
from lightning_modules.nsync.words import Words


@pytest.fixture
def table(parts):
    return parts.text_encoder.get_input_embeddings().weight


def inversion(parts, table, *names, initializer="painting", vectors=1):
    words = Words(parts.tokenizer, names or ["<mine>"], vectors)
    return words, TextualInversion(words, table, initializer, vectors)


def row(parts, table, word):
    (number,) = parts.tokenizer(word, add_special_tokens=False).input_ids
    return table[number]


def test_rows_begin_as_the_initializer_s_and_its_words_go_round(parts, table):
    _, one = inversion(parts, table)
    assert one.weights[0].shape == (1, table.shape[1])
    assert torch.equal(one.weights[0][0], row(parts, table, "painting"))
    _, three = inversion(parts, table, initializer="oil painting", vectors=3)
    for vector, word in zip(three.weights[0], ("oil", "painting", "oil"), strict=True):
        assert torch.equal(vector, row(parts, table, word))


@pytest.mark.parametrize(
    ("initializer", "words"),
    [("", "'' is not in the text encoder's vocabulary"), ("oil painting", "is 2 tokens (oil</w>, painting</w>)")],
)
def test_an_initializer_that_does_not_fit_is_one_sentence(parts, table, initializer, words):
    with pytest.raises(ImpastoError, match=r"^[^\n]+$") as failure:
        inversion(parts, table, initializer=initializer)
    assert words in str(failure.value)


def test_rows_stand_where_placeholders_do_and_every_role_has_its_own(parts, table):
    words, adapter = inversion(parts, table, "<one>", "<two>", vectors=2)
    with torch.no_grad():
        for style, weight in enumerate(adapter.weights):
            weight.copy_(torch.arange(2.0)[:, None] + 10 * style)
    tokens = words.tokens(["a <two> sea", "a photo", "<one> and <two>", "a <one>"])
    plain = torch.full((4, 77, table.shape[1]), -1.0)
    shown = adapter.embed(plain, tokens)[..., 0]
    assert shown[0, :6].tolist() == [-1, -1, 10, 11, -1, -1]
    assert shown[1].unique().tolist() == [-1]
    assert shown[2, :6].tolist() == [-1, 0, 1, -1, 10, 11]
    with adapter.apart(2) as copies:
        copies.weights[0].data[1] += 100  # of the second role, which are samples 2 and 3
        shown = adapter.embed(plain, tokens)[..., 0]
        assert shown[3, 2:4].tolist() == [100, 101]
        assert shown[0, 2:4].tolist() == [10, 11]
        adapter.embed(plain, tokens._replace(present=(0,))).sum().backward()
    first, second = copies.gradients(0), copies.gradients(1)
    assert first[1] is second[1] is None  # the style was not there
    assert first[0].abs().sum() == 0
    assert second[0][0, 0] == 2
    assert adapter.weights[0].grad is None
    assert adapter.embed(plain, tokens)[3, 2, 0] == 0  # the copies are gone


def test_a_role_s_part_of_a_batch_meets_its_own_matrix():
    torch.manual_seed(0)
    plain = nn.Linear(5, 3, bias=False)
    layer = copy.deepcopy(plain)
    layer.__class__ = RoleLinear
    x = torch.randn(6, 7, 5)
    assert torch.equal(layer(x), plain(x))
    copies = Copies([layer.weight], 3)
    layer.copies = copies.weights[0]
    assert torch.allclose(layer(x), plain(x), atol=1e-6)
    assert layer(x[:, 0]).shape == (6, 3)
    layer(x)[2:4].square().sum().backward()  # the second role's
    (expected,) = torch.autograd.grad(plain(x[2:4]).square().sum(), plain.weight)
    assert torch.allclose(copies.gradients(1)[0], expected, atol=1e-5)
    assert copies.gradients(0)[0].abs().sum() == copies.gradients(2)[0].abs().sum() == 0


def test_low_rank_matrices_are_the_only_ones_that_learn(parts):
    unet = copy.deepcopy(parts.unet)
    adapter = LoRA(unet, LoRASettings(), "<mine>")
    learning = [weight for weight in unet.parameters() if weight.requires_grad]
    assert {id(weight) for weight in learning} == {id(weight) for weight in adapter.weights}
    for first, second in zip(adapter.weights[::2], adapter.weights[1::2], strict=True):
        assert first.shape[0] == second.shape[1] == 4  # A, then B of one layer
        assert second.abs().sum() == 0
        assert first.abs().sum() > 0
    with pytest.raises(ImpastoError, match="no linear layer whose name ends in one of to_x"):
        LoRA(copy.deepcopy(parts.unet), LoRASettings(targets=("to_x",)), "<mine>")


@pytest.mark.parametrize(("granularity", "groups"), [("tensor", "each"), ("module", "pairs"), ("global", "one")])
def test_what_is_one_vector_in_a_projection(parts, table, granularity, groups):
    low_rank = LoRA(copy.deepcopy(parts.unet), LoRASettings(), "<mine>").combination("CTO", "paper", granularity)
    count = len(low_rank.groups)
    assert len(set(low_rank.groups)) == {"each": count, "pairs": count // 2, "one": 1}[groups]
    assert low_rank.groups[0] == 0
    _, adapter = inversion(parts, table, "<one>", "<two>", vectors=2)
    rows = adapter.combination("CTO", "paper", granularity)
    assert rows.groups is None  # styles never meet
    assert rows.rows == (granularity == "tensor")


# ---------------------------------------------------------------------- files


def test_rows_begin_as_a_file_has_them(parts, table, tmp_path):
    saved = torch.rand(2, table.shape[1])
    save_file({"<other>": saved}, tmp_path / "two.safetensors")
    save_file({"<other>": saved[0]}, tmp_path / "one.safetensors")
    _, adapter = inversion(parts, table, vectors=2)
    adapter.begin([tmp_path / "two.safetensors"])
    assert torch.equal(adapter.weights[0], saved)
    _, adapter = inversion(parts, table)
    adapter.begin([tmp_path / "one.safetensors"])
    assert torch.equal(adapter.weights[0], saved[:1])


def test_a_file_that_does_not_fit_is_one_sentence(parts, table, tmp_path):
    width = table.shape[1]
    files = {"wide": {"a": torch.rand(1, 1024)}, "two": {"a": torch.rand(2, width)}, "keys": {}}
    files["keys"] = {"a": torch.rand(width), "b": torch.rand(width)}
    for name, state in files.items():
        save_file(state, tmp_path / f"{name}.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"none")
    expected = {
        "wide": f"vectors of 1024 numbers (Stable Diffusion 2.x), and the text encoder of model.model has {width}",
        "two": "holds 2 vectors: set model.vectors to 2",
        "keys": "holds 2 tensors",
        "broken": "is not a file of learned embeddings",
        "absent": "is not a file of learned embeddings",
    }
    for name, words in expected.items():
        with pytest.raises(ImpastoError, match=r"^[^\n]+$") as failure:
            inversion(parts, table)[1].begin([tmp_path / f"{name}.safetensors"])
        assert words in str(failure.value)
    with pytest.raises(ImpastoError, match="1 files for 2 placeholders"):
        inversion(parts, table, "<one>", "<two>")[1].begin([tmp_path / "two.safetensors"])
    with pytest.raises(ImpastoError, match="start is for learned embeddings"):
        LoRA(copy.deepcopy(parts.unet), LoRASettings(), "<mine>").begin([tmp_path / "two.safetensors"])
