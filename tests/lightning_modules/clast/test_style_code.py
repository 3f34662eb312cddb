import math

import pytest
import torch
from torch.nn import functional as F

from lightning_modules.clast.prompts import SOURCE_PROMPT, TEMPLATES
from lightning_modules.clast.style_code import PromptEncoder, StyleCode


def cloud(count, dim, offset, seed):
    """Return vectors of any length around one direction, as CLIP's modalities are."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, dim, generator=generator) + offset
    return vectors * torch.rand(count, 1, generator=generator).add(0.5) * 10


def test_codes_have_the_norm_of_a_standard_normal_vector_whatever_came_in():
    code = StyleCode(16)
    vectors = cloud(5, 16, 3.0, 0)
    out = code(vectors, "image")
    assert torch.allclose(out.norm(dim=-1), torch.full((5,), 4.0), atol=1e-5)
    assert torch.allclose(out, code(100 * vectors, "image"), atol=1e-4)


def test_each_modality_loses_its_own_mean():
    code = StyleCode(16)
    texts, images = cloud(50, 16, 3.0, 1), cloud(50, 16, -3.0, 2)
    code.set_text_mean(texts)
    code.update_image_mean(images)
    expected = F.normalize(F.normalize(texts, dim=-1) - F.normalize(texts, dim=-1).mean(0), dim=-1) * math.sqrt(16)
    assert torch.allclose(code(texts, "text"), expected, atol=1e-5)
    for vectors, modality in ((texts, "text"), (images, "image")):
        raw = F.normalize(vectors, dim=-1).mean(0).norm()
        assert raw > 0.8
        assert F.normalize(code(vectors, modality), dim=-1).mean(0).norm() < 0.2


def test_without_centring_the_vector_itself_is_the_code():
    code = StyleCode(16, centred=False)
    vectors = cloud(3, 16, 1.0, 0)
    code.update_image_mean(vectors)
    assert torch.equal(code(vectors, "image"), vectors)
    assert not code.image_mean.any()


def test_the_running_mean_is_the_plain_mean_of_all_that_was_seen():
    code = StyleCode(8)
    parts = [cloud(count, 8, 1.0, count) for count in (3, 5, 1, 7)]
    for part in parts:
        code.update_image_mean(part)
    assert int(code.images_seen) == 16
    assert torch.allclose(code.image_mean, F.normalize(torch.cat(parts), dim=-1).mean(0), atol=1e-6)


def test_the_running_mean_stops_at_its_limit():
    code = StyleCode(8)
    code.update_image_mean(cloud(4, 8, 1.0, 0), limit=4)
    held = code.image_mean.clone()
    code.update_image_mean(cloud(4, 8, -1.0, 1), limit=4)
    assert torch.equal(code.image_mean, held)


def test_means_travel_in_the_state_dict():
    code, other = StyleCode(8), StyleCode(8)
    code.set_text_mean(cloud(4, 8, 1.0, 0))
    code.update_image_mean(cloud(4, 8, 1.0, 1))
    other.load_state_dict(code.state_dict())
    vector = cloud(1, 8, 0.0, 2)
    for modality in ("text", "image"):
        assert torch.equal(code(vector, modality), other(vector, modality))


def test_texts_are_encoded_once(clip, monkeypatch):
    asked = []
    monkeypatch.setattr(clip, "encode_text", lambda texts: asked.extend(texts) or torch.ones(len(texts), 4))
    prompts = PromptEncoder(clip)
    assert prompts(["a", "b", "a"]).shape == (3, 4)
    prompts(["b", "c"])
    assert asked == ["a", "b", "c"]


def test_an_ensemble_is_the_direction_of_the_mean_over_templates(clip):
    texts = clip.encode_text([template.format("Ada") for template in TEMPLATES])
    out = PromptEncoder(clip).ensemble("Ada")
    direction = F.normalize(texts, dim=-1).mean(0)
    assert F.cosine_similarity(out, direction, dim=0) > 1 - 1e-6
    assert torch.allclose(out.norm(), texts.norm(dim=-1).mean())


@pytest.fixture
def centred(clip):
    code = StyleCode(clip.embed_dim)
    code.set_text_mean(clip.encode_text(["a painting by Ada", "a painting by Bob", "a painting by Cid"]))
    return code


def test_weighted_clauses_add_their_steps_from_the_source(clip, centred):
    prompts = PromptEncoder(clip)
    source = centred(clip.encode_text([SOURCE_PROMPT]), "text")[0]

    def clause_code(clause):
        return centred(prompts.ensemble(clause)[None], "text")[0]

    ada, bob = (prompts.code(name, clause_code, centred) for name in ("Ada", "Bob"))
    assert torch.equal(ada, clause_code("Ada"))
    assert torch.allclose(prompts.code("Ada:1.0", clause_code, centred), ada)
    assert torch.allclose(prompts.code("Ada:0", clause_code, centred), source, atol=1e-5)
    mixed = prompts.code("Ada:1.0, Bob:-0.5", clause_code, centred)
    assert torch.allclose(mixed, source + (ada - source) - 0.5 * (bob - source), atol=1e-5)
