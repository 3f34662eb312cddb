"""Weights of the judges: state files as their authors wrote them, and one sentence where they are absent or damaged."""

import urllib.request

import pytest
import torch

from lightning_modules import weights
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.inception import InceptionTrunk
from lightning_modules.networks.stand_ins import InceptionStandIn, StyleStandIn
from lightning_modules.weights import choice
from lightning_modules.weights import files as weights_files
from lightning_modules.weights.judges import INCEPTIONS


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("IMPASTO_WEIGHTS", str(tmp_path / "impasto"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    weights_files.reachable.cache_clear()
    choice.say_once.cache_clear()
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "impasto").mkdir()
    return tmp_path


def inception_file(folder, variant):
    return folder / "torch" / "hub" / "checkpoints" / INCEPTIONS[variant][1].rsplit("/", 1)[1]


@pytest.mark.parametrize("variant", ["fid", "imagenet", "art"])
def test_an_absent_inception_is_one_sentence_with_address_and_place(offline, variant):
    with pytest.raises(ImpastoError, match="put the file at") as error:
        weights.load_inception("pretrained", variant=variant)
    assert INCEPTIONS[variant][1] in str(error.value)
    assert str(inception_file(offline, variant)) in str(error.value)
    assert "\n" not in str(error.value)


def test_auto_takes_the_file_where_there_is_one_and_says_so(offline, capsys):
    assert isinstance(weights.load_inception(), InceptionStandIn)
    state = weights.load_inception("random").trunk.state_dict()
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(
        state | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, inception_file(offline, "fid")
    )
    loaded = weights.load_inception()
    assert loaded.source == "inception-2015-12-05"
    assert loaded.trunk.form == "tensorflow"
    assert all(torch.equal(value, loaded.trunk.state_dict()[key]) for key, value in state.items())
    said = capsys.readouterr().err
    assert "taking embedded weights" in said
    assert "taking pretrained weights" in said


def test_loading_spends_no_random_numbers(offline):
    torch.save(InceptionTrunk().state_dict(), inception_file(offline, "imagenet"))
    before = torch.get_rng_state()
    assert weights.load_inception("pretrained", variant="imagenet").trunk.form == "torchvision"
    assert torch.equal(torch.get_rng_state(), before)


def test_damaged_and_foreign_files_are_one_sentence(offline):
    path = inception_file(offline, "fid")
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ImpastoError, match="does not hold the Inception-v3"):
        weights.load_inception("pretrained")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ImpastoError, match="not a whole file of Inception-v3 weights"):
        weights.load_inception("pretrained")
    csd = offline / "impasto" / "csd_vit_l.pth"
    torch.save({"model_state_dict": {"module.backbone.x": torch.zeros(1)}}, csd)
    with pytest.raises(ImpastoError, match="does not hold CSD's weights"):
        weights.load_csd("pretrained")
    torch.save([torch.nn.Linear(1, 1)], csd)  # a pickle of code is not read
    with pytest.raises(ImpastoError, match="not a whole file of CSD weights"):
        weights.load_csd("pretrained")


def csd_state():
    from open_clip.transformer import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = VisionTransformer(image_size=12, patch_size=4, width=64, layers=1, heads=1, mlp_ratio=4.0)
    state = {f"backbone.{key}": value for key, value in tower.state_dict().items() if key != "proj"}
    return state | {"last_layer_style": tower.proj.detach(), "last_layer_content": tower.proj.detach()}


def test_csd_reads_the_authors_checkpoint_and_the_plain_file(offline):
    path = offline / "impasto" / "csd_vit_l.pth"
    with pytest.raises(ImpastoError, match=r"CSD weights are missing.*put it at") as error:
        weights.load_csd("pretrained")
    assert str(path) in str(error.value)
    assert isinstance(weights.load_csd(), StyleStandIn)

    plain = csd_state()
    images = torch.rand(2, 3, 20, 30)
    vectors = []
    for content in (plain, {"model_state_dict": {f"module.{key}": value for key, value in plain.items()}, "epoch": 3}):
        torch.save(content, path)
        encoder = weights.load_csd()
        assert encoder.source == "CSD ViT-L"
        vectors.append(encoder(images))
    assert torch.equal(*vectors)
    torch.testing.assert_close(vectors[0].norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("load", [weights.load_inception, weights.load_csd])
def test_embedded_judges_say_so(load):
    assert load("embedded").source == "embedded"
