import pytest
import torch

from lightning_modules.clast.mixtures import draw_mixture
from lightning_modules.clast.prompts import SOURCE_PROMPT
from lightning_modules.clast.settings import LossWeights
from lightning_modules.losses.directional_clip import directional_clip_loss
from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.types import StyleBatch


def batch(size=6, side=48):
    generator = torch.Generator().manual_seed(1)
    pictures = (torch.rand(size, 3, side, side, generator=generator) for _ in range(3))
    artists = torch.arange(size) // 2
    content, style, reference = pictures
    return StyleBatch(content, style, artists, [f"Artist {n}" for n in artists], torch.arange(size), reference)


def test_a_partner_is_another_artist_and_the_number_of_mixtures_is_fixed():
    mixture = draw_mixture(6, 0.5, torch.device("cpu"))
    artists = torch.arange(6) // 2
    assert (artists != artists[mixture.partner]).all()
    assert mixture.mixed == 3
    assert ((mixture.weight[:3] > 0.3) & (mixture.weight[:3] < 0.7)).all()
    assert (mixture.weight[3:] == 1).all()


def test_blending_weighs_own_and_partner():
    mixture = draw_mixture(4, 1.0, torch.device("cpu"))
    values = torch.rand(4, 3, 2)
    for n, blended in enumerate(mixture.blend(values)):
        weight = mixture.weight[n]
        assert torch.allclose(blended, weight * values[n] + (1 - weight) * values[(n + 2) % 4])


def test_style_statistics_are_those_of_both():
    mixture = draw_mixture(4, 0.5, torch.device("cpu"))
    maps = torch.rand(4, 5, 6, 7)
    mean, std = mixture.style_statistics({"relu1_1": maps})["relu1_1"]
    own_mean, own_std = channel_statistics(maps)
    assert torch.equal(mean[2:], own_mean[2:])
    assert torch.allclose(std[0], mixture.weight[0] * own_std[0] + (1 - mixture.weight[0]) * own_std[2])


def test_each_clause_is_owed_its_share_of_directional_clip(small_clast):
    clast = small_clast(loss=LossWeights(clip_patch=0.0, lpips=0.0), mixture_fraction=0.5)
    data = batch()
    seen = clast._look_at(data)
    out = clast.clip_encoder.encode_image(torch.rand(6, 3, 48, 48))
    source = clast.prompts([SOURCE_PROMPT])
    expected = []
    for n in range(6):
        weight = float(seen.mixture.weight[n])
        for share, clause in ((weight, n), (1 - weight, int(seen.mixture.partner[n]))):
            loss = directional_clip_loss(out[n : n + 1], seen.embedded[n : n + 1], seen.texts[clause][None], source)
            expected.append(share * float(loss))
    assert float(clast._directional(out, seen, 1)) == pytest.approx(sum(expected) / 6, abs=1e-6)


def test_mixtures_are_left_out_of_the_contrast_and_train(small_clast, monkeypatch):
    clast = small_clast(loss=LossWeights(lpips=0.0), mixture_fraction=0.5)
    labels = []
    original = clast._contrast
    monkeypatch.setattr(clast, "_contrast", lambda z, names: labels.append(names) or original(z, names))
    terms, _ = clast.loss_terms(batch())
    assert labels[0].tolist() == [1, 2, 2] + 3 * [0, 0, 1, 1, 2, 2]
    torch.stack(list(terms.values())).sum().backward()


def test_no_mixture_unless_asked(small_clast):
    assert small_clast()._look_at(batch()).mixture is None
