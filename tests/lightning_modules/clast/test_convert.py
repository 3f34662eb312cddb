import argparse

import pytest
import torch
import yaml

from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.clast import module
from lightning_modules.clast.convert import convert, rename
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk

DECODER = {
    "merge_feat12.1": (320, 128),
    "decoder_layer_1.1": (128, 256),
    "decoder_layer_0.1": (320, 256),
    "decoder_layer_0.5": (256, 256),
    "decoder_layer_0.8": (256, 128),
    "decoder_layer_0.13": (128, 128),
    "decoder_layer_0.16": (128, 64),
    "decoder_layer_0.21": (64, 64),
    "decoder_layer_0.25": (64, 3),
}


def linear(name, inputs, outputs, *kernel):
    return {f"{name}.weight": (outputs, inputs, *kernel), f"{name}.bias": (outputs,)}


def block(name, dim, out):
    """Shapes of one fusion block, with those of mamba-ssm's Mamba(dim, d_state=16, d_conv=4, expand=2)."""
    inner, rank = 2 * dim, -(-dim // 16)
    return {
        **linear(f"{name}.fs.0", 512, 6 * dim),
        f"{name}.attn.A_log": (inner, 16),
        f"{name}.attn.D": (inner,),
        f"{name}.attn.in_proj.weight": (2 * inner, dim),
        **linear(f"{name}.attn.conv1d", 1, inner, 4),
        f"{name}.attn.x_proj.weight": (rank + 32, inner),
        **linear(f"{name}.attn.dt_proj", rank, inner),
        f"{name}.attn.out_proj.weight": (dim, inner),
        **linear(f"{name}.mlp.fc1", dim, dim),
        **linear(f"{name}.mlp.fc2", dim, dim),
        **linear(f"{name}.prepare_out", dim, out, 1, 1),
    }


FROZEN = {
    "vgg_feat.slice1.0.weight": (3, 3, 1, 1),
    "encoder.slice3.5.bias": (256,),
    "text_editor.model.visual.proj": (768, 512),
    "lpips.net.slice1.0.weight": (64, 3, 3, 3),
}


def released():
    """Fabricate a state dict with the names and shapes of the released checkpoint."""
    shapes = dict(FROZEN)
    for level, (inputs, outputs) in enumerate([(256, 64), (512, 128), (512, 320)]):
        shapes |= linear(f"encoder.adj_channel_{level}.0", inputs, outputs, 1, 1)
        shapes |= block(f"transform.sanet{level}", sum((64, 128, 320)[: level + 1]), outputs)
    for name, channels in DECODER.items():
        shapes |= linear(f"decoder.{name}", *channels, 3, 3)
    shapes |= linear("proj", 512, 512)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.02 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def light(monkeypatch):
    """The frozen networks with the channels that matter here, and little else."""
    import open_clip

    def load_vgg(weights, **_):
        return VGGEncoder(VGGTrunk(VGGConfig((1, 1, 1, 1, 1), (8, 8, 256, 512, 512), colour_conv=True)), weights)

    def load_clip(weights, **_):
        vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
        network = open_clip.CLIP(512, vision, {"layers": 1, "width": 32, "heads": 2, "context_length": 16})
        return CLIPEncoder(network, open_clip.SimpleTokenizer(context_length=16), weights)

    monkeypatch.setattr(module, "load_vgg", load_vgg)
    monkeypatch.setattr(module, "load_clip", load_clip)


@pytest.fixture
def file(tmp_path):
    def write(state):
        torch.save(state, tmp_path / "clast.pth")
        return tmp_path / "clast.pth"

    return write


@pytest.mark.usefixtures("light")
def test_the_released_checkpoint_maps_wholly_and_loads(tmp_path, file):
    state = released()
    result = convert(file({"state_dict": state, "epoch": 3}))
    assert result.complete
    assert (result.missing, result.unexpected, result.misshaped) == ([], [], [])
    assert sorted(result.ignored) == sorted(FROZEN)
    assert len(result.mapped) == len(set(result.mapped)) == len(state) - len(FROZEN)
    assert yaml.safe_load(result.checkpoint["impasto"]["recipe"])["init_args"]["weights"] == "pretrained"

    torch.save(result.checkpoint, tmp_path / "converted.ckpt")
    clast = load_checkpoint(tmp_path / "converted.ckpt")
    ours = clast.state_dict()
    for name, tensor in state.items():
        target = rename(name)
        assert target is None or torch.equal(ours[target], tensor)
    content = torch.rand(1, 3, 48, 40)
    assert clast.stylize(content, style=torch.rand(1, 3, 32, 32)).shape == content.shape


@pytest.mark.usefixtures("light")
def test_the_contrastive_head_may_be_missing(file):
    state = {name: tensor for name, tensor in released().items() if not name.startswith("proj")}
    assert convert(file(state)).complete


@pytest.mark.usefixtures("light")
def test_what_does_not_fit_is_reported(file):
    state = released()
    del state["decoder.decoder_layer_0.25.bias"]
    state["transform.sanet1.attn.D"] = torch.ones(7)
    state["transform.sanet1.extra.weight"] = torch.ones(7)
    result = convert(file(state))
    assert not result.complete
    assert result.missing == ["decoder.to_rgb.convolution.bias"]
    assert result.unexpected == ["transform.sanet1.extra.weight"]
    assert result.misshaped == [("fusion.blocks.1.mixer.mixer.D", (384,), (7,))]
    assert result.checkpoint == {}
    for words in ("missing: decoder.to_rgb", "unexpected: transform", "is (384,) here and (7,) in the file"):
        assert words in result.report()


def test_files_without_weights(tmp_path, file):
    for path, words in (
        (tmp_path / "none.pth", "no file"),
        (file({"epoch": 1}), "holds no weights"),
    ):
        with pytest.raises(ImpastoError, match=words):
            convert(path)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ImpastoError, match="cannot be read safely"):
        convert(tmp_path / "text.pth")


def test_a_checkpoint_with_python_objects_is_refused_with_what_to_do(file):
    settings = argparse.Namespace(batch=30)
    for zipped in (True, False):
        path = file({"state_dict": released(), "hyper_parameters": settings})
        torch.save(torch.load(path, weights_only=False), path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ImpastoError, match=r"\(argparse.Namespace\).*save its state dict alone"):
            convert(path)
