import shutil
from pathlib import Path

import pytest

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.choice import Auto, Settings, find_grounder, find_segmenter
from lightning_modules.grounding.hub import kind_of, load
from lightning_modules.grounding.regions import NotFoundError
from lightning_modules.grounding.sam import HubSegmenter
from lightning_modules.grounding.segmenters import FeatheredBox, Hint, InTurn


@pytest.fixture
def settings():
    said = []
    return Settings(say=said.append), said


def cache(root, name, folder):
    """Put a model into the cache of Hugging Face."""
    place = root / "hub" / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / "1")
    (place / "refs").mkdir()
    (place / "refs/main").write_text("1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "llava",
            r"llava-hf/llava-v1.6-mistral-7b-hf \(about 15.1 GB\).*`hf download llava-hf/llava-v1.6-mistral-7b-hf`",
        ),
        ("grounding-dino", r"IDEA-Research/grounding-dino-tiny \(about 0.7 GB\) are not on this machine"),
        ("clipseg", r"CIDAS/clipseg-rd64-refined \(about 0.6 GB\)"),
        ("sam3", r"facebook/sam3 \(about 3.4 GB\)"),
        ("some/model", "The weights of some/model are not on this machine: run `hf download some/model`"),
        ("llava-hf/llava-1.5-7b-hf", "about 14.1 GB"),
        ("sam", "--grounder sam does not understand words"),
        ("mask", "--grounder mask does not understand words"),
        ("box", "--grounder box does not understand words"),
        ("facebook/sam-vit-huge", "does not understand words"),
        ("lava", "There is no grounder 'lava': choose auto, mask, box, sam,"),
    ],
)
def test_a_grounder_that_is_asked_for_by_name_and_cannot_work_is_one_sentence(no_weights, settings, name, words):
    with pytest.raises(ImpastoError, match=words):
        find_grounder(name, settings[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sam", r"The weights of SAM are not at .*\(2.6 GB\)"),
        ("facebook/sam-vit-huge", r"facebook/sam-vit-huge \(about 2.6 GB\) are not on this machine"),
        ("llava", "--grounder llava does not find what a box or a point shows"),
        ("facebook/sam3", "--grounder facebook/sam3 does not find what a box"),
        ("mask", "--grounder mask does not find"),
        ("other.pth", "not at other.pth"),
    ],
)
def test_the_same_of_segmenters(no_weights, settings, name, words):
    with pytest.raises(ImpastoError, match=words):
        find_segmenter(name, settings[0])


def test_a_model_of_another_kind_is_refused(tmp_path, settings):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ImpastoError, match="is a model of kind 'bert'"):
        find_grounder(str(tmp_path), settings[0])
    (tmp_path / "config.json").write_text('{"model_type": "clipseg"}')
    with pytest.raises(ImpastoError, match=r"cannot be loaded \(.*\): fetch it anew"):
        load(str(tmp_path))


def test_without_sam_auto_falls_back_and_says_so(no_weights, settings, photo):
    segmenter = find_segmenter("auto", settings[0])
    assert isinstance(segmenter, InTurn)
    segmenter.segment(photo, Hint((25, 15, 65, 55)))
    assert "no weights of SAM" in settings[1][0]
    assert isinstance(find_segmenter("feathered", settings[0]), FeatheredBox)


def test_sam_is_taken_from_the_cache_or_by_its_folder(no_weights, settings, tiny):
    assert isinstance(find_segmenter("auto", Settings(sam=tiny("sam2"))), HubSegmenter)
    assert isinstance(find_segmenter(tiny("sam"), settings[0]), HubSegmenter)
    cache(no_weights, "facebook/sam-vit-base", tiny("sam"))
    assert kind_of("facebook/sam-vit-base") == "sam"
    assert find_segmenter("auto", settings[0]).source == "sam (facebook/sam-vit-base)"


def test_a_config_without_weights_is_not_there(no_weights, tiny):
    cache(no_weights, "facebook/sam-vit-base", tiny("sam"))
    next(Path(no_weights).rglob("model.safetensors")).unlink()
    assert kind_of("facebook/sam-vit-base") is None


def test_auto_without_any_model_says_what_to_do(no_weights, settings, photo):
    with pytest.raises(ImpastoError, match=r"Nothing on this machine can look for 'dog': show it by --mask.*0.7 GB"):
        Auto(settings[0]).ground(photo, "dog")
    assert not settings[1]


def test_auto_goes_on_where_a_model_finds_nothing_and_takes_clipseg_first_for_stuff(
    no_weights, settings, photo, tiny, monkeypatch
):
    cache(no_weights, "IDEA-Research/grounding-dino-tiny", tiny("dino"))
    cache(no_weights, "CIDAS/clipseg-rd64-refined", tiny("clipseg"))
    monkeypatch.setattr("lightning_modules.grounding.choice.GroundingDINO", lambda *_: Sure("dino", "house"))
    monkeypatch.setattr("lightning_modules.grounding.choice.CLIPSeg", lambda *_: Sure("clipseg", "sky", "house"))
    auto = Auto(settings[0])
    assert auto.ground(photo, "house") == ["dino"]
    assert not settings[1]
    assert auto.ground(photo, "sky") == ["clipseg"]
    assert not settings[1]
    with pytest.raises(NotFoundError, match="Nobody finds 'dog' in the picture"):
        auto.ground(photo, "dog")
    assert settings[1] == ["dino sees no dog.", "clipseg sees no dog."]


def test_auto_passes_over_a_model_that_cannot_be_loaded(no_weights, settings, photo, tiny, monkeypatch):
    cache(no_weights, "IDEA-Research/grounding-dino-tiny", tiny("dino"))
    next(no_weights.rglob("models--IDEA*/**/model.safetensors")).write_bytes(b"cut off")
    cache(no_weights, "CIDAS/clipseg-rd64-refined", tiny("clipseg"))
    monkeypatch.setattr("lightning_modules.grounding.choice.CLIPSeg", lambda *_: Sure("clipseg", "dog"))
    assert Auto(settings[0]).ground(photo, "dog") == ["clipseg"]
    [sentence] = settings[1]
    assert sentence.startswith("grounding-dino cannot be used (IDEA-Research/grounding-dino-tiny cannot be loaded")


class Sure:
    def __init__(self, name, *known):
        self.name, self.known = name, known

    def ground(self, image, phrase):
        if phrase not in self.known:
            raise NotFoundError(f"{self.name} sees no {phrase}.")
        return [self.name]
