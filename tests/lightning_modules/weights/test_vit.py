"""timm's ViT and ALADIN's file: where they lie, that names are matched, and what is said where they are missing."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.vit import ALADINViT, ViTEncoder
from lightning_modules.weights import load_aladin, load_vit, vit


def small(*_, **options):
    return timm.models.vision_transformer.VisionTransformer(
        img_size=224, patch_size=56, embed_dim=32, depth=2, num_heads=2, num_classes=0, **options
    )


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(vit, "build_vit", small)


def theirs(state, head):
    """Return a state dict of timm under the names of ALADIN's file."""
    root = "enc_style.transformer."
    found = {
        f"{root}embeddings.cls_token": state["cls_token"],
        f"{root}embeddings.position_embeddings": state["pos_embed"],
    }
    parts = {
        "norm1": "attention_norm",
        "norm2": "ffn_norm",
        "attn.proj": "attn.out",
        "mlp.fc1": "ffn.fc1",
        "mlp.fc2": "ffn.fc2",
    }
    for kind in ("weight", "bias"):
        found[f"{root}embeddings.patch_embeddings.{kind}"] = state[f"patch_embed.proj.{kind}"]
        found[f"{root}encoder.encoder_norm.{kind}"] = state[f"norm.{kind}"]
        for block in range(2):
            layer = f"{root}encoder.layer.{block}."
            for ours, other in parts.items():
                found[f"{layer}{other}.{kind}"] = state[f"blocks.{block}.{ours}.{kind}"]
            for name, part in zip(
                ("query", "key", "value"), state[f"blocks.{block}.attn.qkv.{kind}"].chunk(3), strict=True
            ):
                found[f"{layer}attn.{name}.{kind}"] = part.clone()
        for name in ("fc1", "fc2"):
            found[f"enc_style.proj_head.{name}.{kind}"] = head.state_dict()[f"{name}.{kind}"]
    return found


@pytest.fixture
def aladin(tmp_path, monkeypatch):
    """Put a small random ALADIN where the user's file belongs, and return it."""
    monkeypatch.setenv("IMPASTO_WEIGHTS", str(tmp_path))
    torch.manual_seed(5)
    network = ALADINViT(ViTEncoder(small(), "x"), "x")
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save(theirs(network.encoder.network.state_dict(), network), tmp_path / vit.ALADIN_FILE)
    return network


def test_aladin_reads_the_users_file(aladin):
    pictures = torch.rand(2, 3, 240, 300)
    codes = load_aladin()(pictures)
    assert torch.allclose(codes, aladin(pictures), atol=1e-6)
    assert codes.shape == (2, 256)
    assert torch.allclose(codes.norm(dim=1), torch.ones(2))


def test_aladin_refuses_other_files_and_names_the_place(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_WEIGHTS", str(tmp_path))
    with pytest.raises(ImpastoError, match=f"put it at {tmp_path / vit.ALADIN_FILE}"):
        load_aladin()
    torch.save({"weight": torch.ones(1)}, tmp_path / vit.ALADIN_FILE)
    with pytest.raises(ImpastoError, match="does not hold ALADIN-ViT's weights"):
        load_aladin()


def test_the_vit_is_read_from_the_cache_without_its_classifier(tmp_path, monkeypatch):
    torch.manual_seed(6)
    network = small()
    path = tmp_path / "model.safetensors"
    save_file({**network.state_dict(), "head.weight": torch.ones(2, 32), "head.bias": torch.ones(2)}, path)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, name: str(path))
    pictures = torch.rand(1, 3, 224, 224)
    token = load_vit()(pictures)
    assert torch.allclose(token, network.eval().forward_features(pictures * 2 - 1)[:, 0], atol=1e-5)
    assert load_vit().width == 32


def test_a_missing_vit_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repo, name: None)
    with pytest.raises(ImpastoError, match="run `hf download timm/vit_base"):
        load_vit()


def test_random_weights_are_always_the_same():
    assert torch.equal(load_vit("random")(torch.ones(1, 3, 224, 224)), load_vit("random")(torch.ones(1, 3, 224, 224)))
