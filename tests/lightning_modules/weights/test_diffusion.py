"""Latent diffusion pipelines from every source, against tiny random ones that diffusers itself saved."""

import json
import os
import shutil

import numpy as np
import pytest
import torch

from datamodules.procedural import PAINTERS, contents, paint
from experiments.embedded.diffusion_pictures import HELD_OUT
from lightning_modules import weights
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.latent_diffusion import TINY, build_diffusion
from lightning_modules.weights import choice

SCENES = ("the sea under a blue sky", "an autumn forest")


@pytest.fixture(scope="module")
def parts():
    return weights.load_diffusion("random")


@pytest.fixture(scope="module")
def embedded():
    return weights.load_diffusion("embedded")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the folder of a pipeline whose weights are those of no other."""
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    torch.manual_seed(7)
    weights.pipeline_of(build_diffusion(TINY, "mine"), "pndm").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """Return a copy that a test may spoil: large files are links."""
    return shutil.copytree(saved, tmp_path / "pipeline", copy_function=os.link)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    choice.say_once.cache_clear()
    return tmp_path


def change(folder, name, **values):
    """Change a JSON file of a folder of links."""
    path = folder / name
    found = json.loads(path.read_text()) | values
    path.unlink()
    path.write_text(json.dumps(found))


# ---- random ----------------------------------------------------------------------------------------------------------


def test_random_is_the_same_every_time_and_frozen(parts):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    again = weights.load_diffusion("random")
    assert torch.equal(torch.rand(3), expected)
    ours, theirs = parts.state_dict(), again.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert not any(value.requires_grad for value in again.train().parameters())
    assert not any(module.training for module in again.modules())
    assert (again.source, again.size, again.scheduler.config.prediction_type) == ("random", 64, "v_prediction")


def test_the_schedule_is_stable_diffusions(parts):
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    assert torch.allclose(parts.scheduler.alphas_cumprod.double(), (1 - betas).cumprod(0), rtol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "pndm"])
def test_the_pipeline_is_diffusers_own_and_draws(parts, sampler, caplog):
    pipeline = weights.pipeline_of(parts, sampler)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.unet is parts.unet
    assert pipeline.scheduler.config.steps_offset == 1
    assert not pipeline.scheduler.config.set_alpha_to_one
    seeds = [torch.Generator().manual_seed(seed) for seed in (0, 1, 0)]
    drawn = pipeline(["a city"] * 3, num_inference_steps=2, generator=seeds, output_type="pt").images
    assert drawn.shape == (3, 3, 64, 64)
    assert torch.allclose(drawn[0], drawn[2], atol=1e-5)
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-2)
    assert not caplog.records


# ---- embedded --------------------------------------------------------------------------------------------------------


def test_the_embedded_pipeline_weighs_at_most_16_megabytes_and_says_what_it_never_saw(embedded):
    files = list(weights.EMBEDDED.glob("diffusion*"))
    assert sum(file.stat().st_size for file in files) <= 16e6
    described = json.loads((weights.EMBEDDED / "diffusion.json").read_text())
    assert described["held_out"] == list(HELD_OUT)
    assert {"seed", "denoiser_steps"} < set(described["measured"])
    assert (embedded.source, embedded.size) == ("embedded", 64)
    assert embedded.signature != embedded.source


def test_the_embedded_autoencoder_brings_pictures_back(embedded):
    pictures = [picture for picture in contents("test", 8, size=64, seed=4242) if picture.regions is not None][:4]
    works = [paint(picture, name, 4242) for name in PAINTERS for picture in pictures]
    shown = torch.from_numpy(np.stack(works)).permute(0, 3, 1, 2)
    again = embedded.vae.decode(embedded.vae.encode(2 * shown - 1).latent_dist.mean).sample.clamp(-1, 1) / 2 + 0.5
    error = (again - shown).square().mean((1, 2, 3)).view(len(PAINTERS), -1)
    assert float(-10 * error.log10().mean()) > 20
    assert float(-10 * error.log10().mean(1).min()) > 15


def test_the_embedded_pipeline_paints_in_the_manner_that_is_asked_for(embedded):
    """A judge that has nothing to do with it names the painters of what it draws, far beyond chance."""
    names = [name for name in PAINTERS if name not in HELD_OUT]
    pipeline = weights.pipeline_of(embedded)
    pipeline.set_progress_bar_config(disable=True)
    prompts = [f"a painting of {scene} in the style of {name}" for name in names for scene in SCENES]
    seeds = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
    drawn = pipeline(prompts, num_inference_steps=12, guidance_scale=4.0, generator=seeds, output_type="pt").images
    judge = weights.load_artist_classifier()
    shown = torch.nn.functional.interpolate(drawn, (80, 80), mode="bicubic", antialias=True).clamp(0, 1)
    answers = judge(shown)[:, : len(judge.artists)].argmax(1).tolist()
    wanted = [judge.artists.index(name) for name in names for _ in SCENES]
    right = sum(one == other for one, other in zip(answers, wanted, strict=True))
    assert right / len(wanted) > 0.6  # chance: 1 in 12; the model card has the figure of all scenes


# ---- pretrained ------------------------------------------------------------------------------------------------------


def test_a_folder_gives_back_what_was_saved(saved):
    torch.manual_seed(7)
    expected = build_diffusion(TINY, "mine").state_dict()
    found = weights.load_diffusion("pretrained", str(saved))
    assert expected.keys() == found.state_dict().keys()
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in expected.items())
    assert (
        found.tokenizer("in the style of zebra").input_ids
        == weights.load_diffusion("random").tokenizer("in the style of zebra").input_ids
    )
    assert found.scheduler.config.prediction_type == "v_prediction"
    assert not found.scheduler.config.clip_sample
    assert found.source == f"diffusers {saved}"


def test_a_signature_changes_with_the_weights(saved, folder):
    one = weights.load_diffusion("pretrained", str(saved))
    file = folder / "text_encoder" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(content)
    other = weights.load_diffusion("pretrained", str(folder))
    assert one.digest != other.digest
    assert one.digest == weights.load_diffusion("pretrained", str(saved)).digest


def test_a_pipeline_of_v_prediction_is_read_as_one(folder):
    change(folder, "scheduler/scheduler_config.json", prediction_type="v_prediction")
    assert weights.load_diffusion("pretrained", str(folder)).scheduler.config.prediction_type == "v_prediction"


def test_the_hub_cache_is_read(saved, offline):
    repo = offline / "hub" / "models--some--pipeline"
    shutil.copytree(saved, repo / "snapshots" / "abc")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    assert weights.load_diffusion("pretrained", "some/pipeline").source == "diffusers some/pipeline"
    assert weights.load_diffusion("auto", "some/pipeline").source == "diffusers some/pipeline"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("model", ["some/absent", "/no/such/folder", "stable-diffusion-v1-5/stable-diffusion-v1-5"])
def test_what_is_not_here_is_one_sentence_that_says_where_to_put_it(model):
    with pytest.raises(ImpastoError, match=r"not in the cache and cannot be fetched .*HF_HOME.* holds .*unet") as error:
        weights.load_diffusion("pretrained", model)
    assert model in str(error.value)


def test_a_folder_names_what_it_lacks(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ImpastoError, match=r"lacks unet/diffusion_pytorch_model\.safetensors, tokenizer/vocab\.json"):
        weights.load_diffusion("pretrained", str(folder))


def test_a_damaged_file_is_one_sentence(folder):
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    content = file.read_bytes()[:1000]
    file.unlink()
    file.write_bytes(content)
    with pytest.raises(ImpastoError, match=r"cannot be read .*delete it and fetch it again"):
        weights.load_diffusion("pretrained", str(folder))


def test_missing_tensors_are_not_drawn_at_random(folder):
    from safetensors.torch import load_file, save_file

    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state.pop("conv_in.bias")
    file.unlink()
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ImpastoError, match=r"The unet in .* lacks 1 of its tensors, such as conv_in\.bias"):
        weights.load_diffusion("pretrained", str(folder))


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ({"_class_name": "StableDiffusionXLPipeline"}, "is a StableDiffusionXLPipeline"),
        ({"text_encoder": ["transformers", "T5EncoderModel"]}, "reads words with T5EncoderModel"),
    ],
)
def test_another_kind_of_model_is_one_sentence(folder, index, sentence):
    change(folder, "model_index.json", **index)
    with pytest.raises(ImpastoError, match=rf"{sentence}.* choose a Stable Diffusion 1\.x or 2\.x"):
        weights.load_diffusion("pretrained", str(folder))


def test_parts_that_do_not_fit_are_one_sentence(saved, folder, tmp_path):
    change(folder, "scheduler/scheduler_config.json", prediction_type="sample")
    with pytest.raises(ImpastoError, match="predicts sample, not epsilon or v_prediction"):
        weights.load_diffusion("pretrained", str(folder))
    wide = {**TINY, "unet": {**TINY["unet"], "cross_attention_dim": 64}}
    shutil.rmtree(folder / "unet")
    build_diffusion(wide, "wide").unet.save_pretrained(folder / "unet")
    with pytest.raises(ImpastoError, match="reads words as 64 numbers, and its text encoder writes 96"):
        weights.load_diffusion("pretrained", str(folder))
    shutil.rmtree(folder / "unet")
    filling = {**TINY, "unet": {**TINY["unet"], "in_channels": 9}}
    build_diffusion(filling, "filling").unet.save_pretrained(folder / "unet")
    with pytest.raises(ImpastoError, match="reads 9 channels, and its autoencoder makes 8"):
        weights.load_diffusion("pretrained", str(folder))


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("lightning_modules.networks.diffusion_extra.find_spec", lambda name: name != "peft" or None)
    with pytest.raises(ImpastoError, match=r"needs peft: run `pip install -e '\.\[diffusion\]'`"):
        weights.load_diffusion("random")
