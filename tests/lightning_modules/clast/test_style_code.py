import copy
import math

import pytest
import torch
from torch.nn import functional as F

from lightning_modules.clast.prompts import BARE, SOURCE_PROMPT, TEMPLATES
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
    assert code.images_seen == 16
    assert torch.allclose(code.image_mean, F.normalize(torch.cat(parts), dim=-1).mean(0), atol=1e-6)


def test_the_running_mean_stops_at_its_limit():
    code = StyleCode(8, limit=4)
    code.update_image_mean(cloud(4, 8, 1.0, 0))
    assert code.settled
    held = code.image_mean.clone()
    code.update_image_mean(cloud(4, 8, -1.0, 1))
    assert torch.equal(code.image_mean, held)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_codes_are_at_least_float32(centred, dtype):
    code = StyleCode(8, centred=centred)
    wanted = torch.promote_types(dtype, torch.float32)
    for modality in ("text", "image"):
        assert code(cloud(2, 8, 1.0, 0).to(dtype), modality).dtype == wanted


def test_means_travel_in_the_state_dict():
    code, other = StyleCode(8), StyleCode(8)
    code.set_text_mean(cloud(4, 8, 1.0, 0))
    code.update_image_mean(cloud(4, 8, 1.0, 1))
    other.load_state_dict(code.state_dict())
    assert other.images_seen == 4
    vector = cloud(1, 8, 0.0, 2)
    for modality in ("text", "image"):
        assert torch.equal(code(vector, modality), other(vector, modality))


def test_texts_are_encoded_once_and_each_by_itself(clip, monkeypatch):
    asked = []
    monkeypatch.setattr(clip, "encode_text", lambda texts: asked.append(texts) or torch.ones(len(texts), 4))
    prompts = PromptEncoder(clip)
    assert prompts(["a", "b", "a"]).shape == (3, 4)
    prompts(["b", "c"])
    assert asked == [["a"], ["b"], ["c"]]  # some processors round alike in a batch, by luck


NAMES = ("Ada Stipple", "Bruno Carbone", "Elin Facet", "an old lady, painted by Gustav Raster", "a photo")


def fresh(clip, *before):
    """Return an encoder that has already encoded what came before, in groups, in other circumstances."""
    prompts = PromptEncoder(clip)
    for names in before:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            prompts(names)
    return prompts


def test_a_vector_is_a_function_of_its_text_whatever_was_encoded_beside_or_before_it(clip):
    alone = {name: fresh(clip)([name])[0] for name in NAMES}
    for order in (NAMES, NAMES[::-1], NAMES[2:] + NAMES[:2]):
        for prompts in (fresh(clip), fresh(clip, order), fresh(clip, order[:2], order[1:4])):
            for name, vector in zip(order, prompts(order), strict=True):
                assert torch.equal(vector, alone[name]), name
    assert next(iter(alone.values())).dtype == torch.float32


def test_autocast_and_inference_mode_change_neither_vectors_nor_codes(clip, centred):
    def codes(prompts):
        def clause_code(clause):
            return centred(prompts.ensemble(clause)[None], "text")[0]

        return torch.stack([prompts.code(name, clause_code, centred) for name in (*NAMES, "Ada:0.7, Bob:0.6")])

    plain = fresh(clip)
    vectors, expected = plain(NAMES), codes(plain)
    with torch.autocast("cpu", torch.bfloat16):
        other = fresh(clip)
        assert torch.equal(other(NAMES), vectors)
        assert torch.equal(codes(other), expected)
    with torch.inference_mode():
        other = fresh(clip)
        other(NAMES)
    assert torch.equal(other(NAMES), vectors)
    (other(NAMES) * torch.ones(1, requires_grad=True)).sum().backward()  # training uses what a validation encoded


def test_other_weights_give_other_vectors(clip):
    clip = copy.deepcopy(clip)
    prompts = PromptEncoder(clip)
    first = prompts(NAMES)
    assert prompts([NAMES[0]]).dtype == torch.float32
    assert clip.bfloat16() is clip
    halved = prompts(NAMES)
    assert halved.dtype == torch.float32  # as exact as these weights allow
    assert not torch.equal(halved, first)
    clip.float()
    with torch.no_grad():
        clip.model.text_projection.mul_(2)
    assert torch.equal(prompts(NAMES), fresh(clip)(NAMES))
    assert prompts.__class__(clip.double())(NAMES).dtype == torch.float64


def test_one_template_gives_the_raw_vector(clip):
    prompts = PromptEncoder(clip, BARE)
    assert torch.equal(prompts.ensemble("Ada"), prompts(["Ada"])[0])


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
