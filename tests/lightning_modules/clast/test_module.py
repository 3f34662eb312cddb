import pytest
import torch
from torch.utils.data import DataLoader

from lightning_modules.clast.settings import LossWeights, Patches
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.selective_scan import Mamba1Mixer, SSDMixer
from lightning_modules.types import StyleBatch

CRITIC = {"critic_optimizer": torch.optim.SGD}


def batch(size=4, side=48):
    generator = torch.Generator().manual_seed(1)
    content, style, reference = (torch.rand(size, 3, side, side, generator=generator) for _ in range(3))
    artists = torch.arange(size) // 2
    names = [("Ada Stipple", "Bob Hatch")[artist] for artist in artists.tolist()]
    return StyleBatch(content, style, artists, names, torch.arange(size), reference)


EVERY_TERM = LossWeights(identity=1.0, tv=1.0, texture=1.0)


def test_every_term_with_a_weight_is_computed_and_trains(small_clast):
    clast = small_clast(loss=EVERY_TERM, **CRITIC, identity_fraction=0.5)
    terms, pictures = clast.loss_terms(batch())
    assert set(terms) == set(vars(EVERY_TERM))
    assert pictures.shape == (4 + 2, 3, 48, 48)  # two of the four contents are also reconstructed
    for name, term in terms.items():
        assert term.ndim == 0, name
        assert torch.isfinite(term), name
        (gradient,) = torch.autograd.grad(term, clast.decoder.to_rgb.convolution.bias, retain_graph=True)
        assert gradient.any(), f"{name} does not pull at the picture"


def test_identity_is_not_balanced_and_one_picture_is_the_least(small_clast):
    clast = small_clast(loss=EVERY_TERM, **CRITIC, identity_fraction=0.17)
    assert set(clast.balance.terms) == set(vars(EVERY_TERM)) - {"identity"}
    terms, pictures = clast.loss_terms(batch(2))  # 0.17 of two pictures rounds to none
    assert len(pictures) == 2 + 1
    assert clast.balance.measure(terms, pictures).isfinite().all()
    assert clast.balance.scale("identity") == 1.0


def test_without_a_share_nothing_is_reconstructed(small_clast):
    clast = small_clast(loss=EVERY_TERM, **CRITIC, identity_fraction=0.0)
    terms, pictures = clast.loss_terms(batch(2))
    assert "identity" not in terms
    assert len(pictures) == 2
    assert len(clast.balance.measure(terms, pictures)) == len(terms)


def test_a_term_without_weight_is_not_computed(small_clast, monkeypatch):
    clast = small_clast(loss=LossWeights(clip_patch=0.0, contrastive=0.0, lpips=0.0))
    monkeypatch.setattr(clast, "_patches", lambda _: pytest.fail("patches were cut"))
    assert set(clast.loss_terms(batch())[0]) == {"content", "style", "clip"}
    assert clast.perceptual is None


def test_training_touches_no_frozen_network(small_clast):
    clast = small_clast(loss=EVERY_TERM, **CRITIC, identity_fraction=0.5)
    torch.stack(list(clast.loss_terms(batch())[0].values())).sum().backward()
    for network in (clast.encoder, clast.clip_encoder, clast.perceptual):
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert all(p.grad is not None for p in clast.parameters() if p.requires_grad)


def test_patches_are_squares_of_the_right_pictures(small_clast):
    clast = small_clast(patches=Patches(count=3, size=8))
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    images = torch.stack([torch.stack([torch.full_like(rows, n), rows, columns]) for n in range(4)])
    patches = clast._patches(images)
    assert patches.shape == (12, 3, 8, 8)
    for position, patch in enumerate(patches):
        number, row, column = patch[:, 0, 0].tolist()
        assert number == position % 4  # patch-major: repeat(count, 1) of what belongs to the pictures fits
        expected = images[int(number), :, int(row) : int(row) + 8, int(column) : int(column) + 8]
        assert torch.equal(patch, expected)


def test_patches_reach_every_corner_and_are_cut_down_to_small_pictures(small_clast):
    clast = small_clast(patches=Patches(count=200, size=8))
    corners = torch.arange(90.0).view(1, 1, 9, 10).expand(1, 3, 9, 10)
    firsts = {int(patch[0, 0, 0]) for patch in clast._patches(corners)}
    assert firsts == {0, 1, 2, 10, 11, 12}
    assert clast._patches(torch.rand(1, 3, 5, 30)).shape == (200, 3, 5, 5)


def test_identity_reconstructs_from_the_contents_own_code(small_clast):
    clast = small_clast(loss=EVERY_TERM, **CRITIC, identity_fraction=0.5)
    data = batch()
    own = clast._stylize_and_reconstruct(data, clast._look_at(data))[4:]
    with torch.no_grad():
        expected = clast.paint(clast.content_features(data.content[:2]), clast.image_code(data.content[:2]))
    assert torch.allclose(own, expected, atol=1e-5)


@pytest.mark.parametrize(("fraction", "modality"), [(0.0, "image"), (1.0, "text")])
def test_text_fraction_decides_what_the_batch_is_conditioned_on(small_clast, fraction, modality):
    clast = small_clast(text_fraction=fraction)
    data = batch()
    torch.manual_seed(3)
    _, stylized = clast.loss_terms(data)
    torch.manual_seed(3)
    code = (
        clast.image_code(data.style)
        if modality == "image"
        else clast.style_code(clast.prompts(clast._sentences(data.prompt)), "text")
    )
    expected = clast.paint(clast.content_features(data.content), code)
    assert torch.allclose(stylized, expected, atol=1e-4)


def test_weight_decay_spares_biases_norms_and_scan_constants(small_clast):
    clast = small_clast(mixer="mamba1")
    clast.make_optimizer = lambda groups: torch.optim.AdamW(groups, weight_decay=0.1)
    (optimizer,) = clast.configure_optimizers()
    decayed, spared = optimizer.param_groups
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0.0
    names = {id(p): name for name, p in clast.named_parameters()}
    trained = {id(p) for p in clast.parameters() if p.requires_grad}
    assert {id(p) for group in (decayed, spared) for p in group["params"]} == trained
    for parameter in decayed["params"]:
        assert names[id(parameter)].endswith("weight")
    for ending in ("A_log", ".D", ".bias"):
        assert any(names[id(p)].endswith(ending) for p in spared["params"])


@pytest.mark.parametrize("variant", ["paper", "impasto"])
@pytest.mark.parametrize("condition", [{"prompt": "Ada Stipple"}, {"style": torch.rand(1, 3, 40, 50)}])
def test_both_variants_paint_odd_sizes_from_both_conditions(small_clast, variant, condition):
    clast = small_clast(variant=variant)
    content = torch.rand(2, 3, 33, 50)
    picture = clast.stylize(content, **condition)
    assert picture.shape == content.shape
    assert picture.std() > 0


def test_alpha_runs_from_the_contents_own_code_to_the_style_and_beyond(small_clast):
    clast = small_clast()
    content, style = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        codes = [clast.image_code(picture) for picture in (content, style)]
        for alpha in (0.0, 0.5, 1.0, 1.5):
            code = codes[0] + alpha * (codes[1] - codes[0])
            expected = clast.paint(clast.content_features(content), code).clamp(0, 1)
            assert torch.allclose(clast.stylize(content, style=style, alpha=alpha), expected, atol=1e-4)


def test_the_paper_variant_takes_the_raw_clip_vector_and_normalises_for_imagenet(small_clast):
    clast = small_clast(variant="paper")
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(clast.image_code(images), clast.clip_encoder.encode_image(images))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    plain = clast.encoder((images - mean) / std, ["relu1_1"])["relu1_1"]
    assert torch.allclose(clast.encode(images, ["relu1_1"])["relu1_1"], plain)


def test_the_paper_variant_encodes_the_bare_prompt(small_clast):
    clast = small_clast(variant="paper")
    assert torch.equal(clast.text_code(["Ada Stipple"]), clast.prompts(["Ada Stipple"]))
    ours = small_clast()
    assert torch.equal(
        ours.text_code(["Ada Stipple"])[0], ours.style_code(ours.prompts.ensemble("Ada Stipple"), "text")
    )
    assert not torch.allclose(ours.prompts.ensemble("Ada Stipple"), ours.prompts(["Ada Stipple"])[0])


def test_the_paper_variant_scans_as_the_released_code_unless_told_otherwise(small_clast):
    for settings, mixer in (
        ({"variant": "paper"}, Mamba1Mixer),
        ({"variant": "impasto"}, SSDMixer),
        ({"variant": "paper", "mixer": "ssd"}, SSDMixer),
        ({"variant": "impasto", "mixer": "mamba1"}, Mamba1Mixer),
    ):
        assert all(isinstance(block.mixer.mixer, mixer) for block in small_clast(**settings).fusion.blocks)


def test_skips_give_the_decoder_shallow_features(small_clast):
    clast = small_clast(skips=4)
    content = torch.rand(1, 3, 32, 32)
    assert clast.stylize(content, prompt="Ada").shape == content.shape
    assert set(clast.content_features(content)) >= {"relu1_1", "relu2_1"}


def test_a_texture_term_needs_an_optimizer_for_its_critic(small_clast):
    with pytest.raises(ImpastoError, match="give model"):
        small_clast(loss=LossWeights(texture=1.0))


def test_the_critic_has_its_own_optimizer_and_the_painter_has_none_of_it(small_clast):
    clast = small_clast(loss=LossWeights(texture=1.0), **CRITIC)
    painter, critic = clast.configure_optimizers()
    held = {parameter for group in painter.param_groups for parameter in group["params"]}
    judged = {parameter for group in critic.param_groups for parameter in group["params"]}
    assert judged == set(clast.critic.parameters())
    assert held == {p for p in clast.parameters() if p.requires_grad} - judged
    assert len(small_clast().configure_optimizers()) == 1


def test_noise_is_drawn_in_training_and_stands_still_afterwards(small_clast):
    clast, data = small_clast(noise=True, text_fraction=0.0), batch()  # nothing else is drawn
    for layer in (clast.decoder.merge, clast.decoder.stage1):
        torch.nn.init.ones_(layer.noise.strength.bias)
    seen = clast._look_at(data)
    torch.manual_seed(0)
    one, other = (clast._stylize_and_reconstruct(data, seen) for _ in range(2))
    assert not torch.allclose(one, other, atol=1e-3)
    painted = [clast.stylize(data.content, style=data.style) for _ in range(2)]
    assert torch.equal(*painted)
    numbers = {layer.noise.number for layer in clast.decoder.modules() if getattr(layer, "noise", None) is not None}
    assert numbers == set(range(6))


@pytest.mark.parametrize("variant", ["paper", "impasto"])
@pytest.mark.parametrize("condition", [{"prompt": "Ada:1.0, blue:0.5"}, {"style": torch.rand(1, 3, 40, 50)}])
def test_bfloat16_paints_at_every_strength(small_clast, variant, condition):
    clast, content = small_clast(variant=variant), torch.rand(1, 3, 32, 32)
    for alpha in (0.0, 0.5, 1.0, 1.5):
        expected = clast.stylize(content, alpha=alpha, **condition)
        with torch.autocast("cpu", torch.bfloat16):
            assert float((clast.stylize(content, alpha=alpha, **condition) - expected).abs().mean()) < 0.02


def test_a_picture_of_one_colour_has_no_streaks(small_clast):
    clast = small_clast(mixer="steady", scan="bidi", variant="impasto")
    for block in clast.fusion.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    flat = torch.full((1, 3, 64, 96), 0.4)
    with torch.no_grad():
        features = clast.content_features(flat)
        inner = {name: maps[..., 1:2, 1:2].expand_as(maps) for name, maps in features.items()}  # without borders
        fused = clast.fusion([inner[name] for name in ("relu3_1", "relu4_1", "relu5_1")], clast.image_code(flat))
    for maps in fused:
        assert torch.allclose(maps, maps[..., :1, :1].expand_as(maps), atol=1e-4)


def test_bfloat16_trains(small_clast, quiet_trainer):
    clast = small_clast(loss=EVERY_TERM, **CRITIC, identity_fraction=0.5, noise=True)
    trainer = quiet_trainer(max_steps=1, precision="bf16-mixed")
    trainer.fit(clast, DataLoader([batch()], batch_size=None))
    assert trainer.callback_metrics["train/total"].isfinite()
    assert all(parameter.isfinite().all() for parameter in clast.parameters())
    assert clast.style_code.image_mean.any()
