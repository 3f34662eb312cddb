"""CSD: the tower and projection that a state file describes, against the formula written out."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_modules.networks.clip import OPENAI_MEAN, OPENAI_STD
from lightning_modules.networks.csd import csd_from_state

WIDTH, PATCH, LAYERS, DIM = 128, 4, 2, 24  # two heads of 64


def make_state():
    draw = torch.Generator().manual_seed(0)

    def tensor(*shape, scale=0.1):
        return scale * torch.randn(*shape, generator=draw)

    state = {
        "class_embedding": tensor(WIDTH),
        "positional_embedding": tensor(1 + 3 * 3, WIDTH),
        "conv1.weight": tensor(WIDTH, 3, PATCH, PATCH),
    }
    for norm in ("ln_pre", "ln_post", *(f"transformer.resblocks.{k}.ln_{i}" for k in range(LAYERS) for i in (1, 2))):
        state |= {f"{norm}.weight": 1 + tensor(WIDTH), f"{norm}.bias": tensor(WIDTH)}
    for block in (f"transformer.resblocks.{k}" for k in range(LAYERS)):
        state |= {
            f"{block}.attn.in_proj_weight": tensor(3 * WIDTH, WIDTH),
            f"{block}.attn.in_proj_bias": tensor(3 * WIDTH),
            f"{block}.attn.out_proj.weight": tensor(WIDTH, WIDTH),
            f"{block}.attn.out_proj.bias": tensor(WIDTH),
            f"{block}.mlp.c_fc.weight": tensor(4 * WIDTH, WIDTH),
            f"{block}.mlp.c_fc.bias": tensor(4 * WIDTH),
            f"{block}.mlp.c_proj.weight": tensor(WIDTH, 4 * WIDTH),
            f"{block}.mlp.c_proj.bias": tensor(WIDTH),
        }
    heads = {"last_layer_style": tensor(WIDTH, DIM), "last_layer_content": tensor(WIDTH, DIM)}
    return {f"backbone.{key}": value for key, value in state.items()} | heads


def by_hand(state, images):
    """Return the style vectors of square pictures of the tower's own size, in float64."""
    s = {key.removeprefix("backbone."): value.double() for key, value in state.items()}

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x * s[f"{name}.weight"] + s[f"{name}.bias"]

    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (OPENAI_MEAN, OPENAI_STD))
    patches = F.unfold((images.double() - mean) / std, PATCH, stride=PATCH).transpose(1, 2)  # B, 9, 48
    tokens = patches @ s["conv1.weight"].flatten(1).T
    x = torch.cat((s["class_embedding"].expand(len(images), 1, -1), tokens), 1) + s["positional_embedding"]
    x = norm(x, "ln_pre")
    for block in (f"transformer.resblocks.{k}" for k in range(LAYERS)):
        y = norm(x, f"{block}.ln_1") @ s[f"{block}.attn.in_proj_weight"].T + s[f"{block}.attn.in_proj_bias"]
        heads = []
        for q, k, v in zip(*(part.split(64, dim=-1) for part in y.chunk(3, dim=-1)), strict=True):
            heads.append(torch.softmax(q @ k.transpose(1, 2) / math.sqrt(64), -1) @ v)
        x = x + torch.cat(heads, -1) @ s[f"{block}.attn.out_proj.weight"].T + s[f"{block}.attn.out_proj.bias"]
        y = norm(x, f"{block}.ln_2") @ s[f"{block}.mlp.c_fc.weight"].T + s[f"{block}.mlp.c_fc.bias"]
        y = y * torch.sigmoid(1.702 * y)
        x = x + y @ s[f"{block}.mlp.c_proj.weight"].T + s[f"{block}.mlp.c_proj.bias"]
    style = norm(x[:, 0], "ln_post") @ s["last_layer_style"]
    return style / style.norm(dim=1, keepdim=True)


def test_the_vector_is_the_formulas():
    state = make_state()
    encoder = csd_from_state(state, "CSD ViT-L")
    images = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    assert (encoder.image_size, encoder.embed_dim, encoder.source) == (12, DIM, "CSD ViT-L")
    vectors = encoder(images)
    assert float((vectors - by_hand(state, images)).abs().max()) < 1e-5
    assert encoder(torch.rand(2, 3, 30, 41)).shape == (2, DIM)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_half_files_become_float32():
    encoder = csd_from_state({key: value.half() for key, value in make_state().items()}, "x")
    assert {value.dtype for value in encoder.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("missing", ["last_layer_style", "backbone.ln_post.bias"])
def test_missing_tensors_are_errors(missing):
    state = make_state()
    del state[missing]
    with pytest.raises((KeyError, RuntimeError), match=missing.removeprefix("backbone.")):
        csd_from_state(state, "x")
