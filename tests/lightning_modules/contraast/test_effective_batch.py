"""A step over an effective batch in parts is the step of one batch of that size."""

import statistics
from functools import partial

import pytest
import torch

from lightning_modules.internal_external.settings import LossWeights
from lightning_modules.internal_external.training import InternalExternal
from lightning_modules.losses.shared_attribute import Crops, arrange_pairs
from lightning_modules.networks.mirrored_decoder import Texture
from lightning_modules.optim.logit_accumulation import LogitAccumulation

HALF, PARTS = 2, 3
WEIGHTS = LossWeights(
    style=0.9, adversarial=0.8, content=0.7, identity_image=0.6, identity_feature=0.5, style_contrast=0.4,
    content_contrast=0.3, manner_contrast=0.2,
)  # fmt: skip
CONTRASTS = LossWeights(
    style=0.0, adversarial=0.0, content=0.0, identity_image=0.0, identity_feature=0.0, style_contrast=0.4,
    content_contrast=0.3, manner_contrast=0.2,
)  # fmt: skip


@pytest.fixture
def build(small):
    """Return a function that builds a ContraAST with every batch-wise loss, which steps by SGD."""

    def make(loss=WEIGHTS, **settings):
        model = small(texture=Texture((3, 4, 5), 6), loss=loss, identity_fraction=1.0, **settings)
        model.make_optimizer = model.make_discriminator_optimizer = partial(torch.optim.SGD, lr=1e-4)
        return model

    return make


@pytest.fixture
def draw(batch):
    """Return a function from a seed to the parts of a batch."""

    def make(seed=0):
        made = [batch(HALF, seed=PARTS * seed + number) for number in range(PARTS)]
        return [part._replace(artist=torch.tensor([number % 2, 5])) for number, part in enumerate(made)]

    return make


@pytest.fixture
def parts(draw):
    return draw()


@pytest.fixture
def quiet(monkeypatch):
    """Texture without noise, which would fall otherwise on the pictures of a large batch."""
    monkeypatch.setattr(torch, "randint", lambda high, shape, **options: torch.zeros(shape, dtype=torch.long))


def in_parts(half):
    """Arrange a joined batch as its parts are: contents are rolled among each part's own."""
    content, style = arrange_pairs(HALF)
    numbers = [HALF * number for number in range(half // HALF)]
    return torch.cat([content + first for first in numbers]), torch.cat([style + first for first in numbers])


def true_crops(model, batch):
    """Compare with the style pictures themselves, as some who build on ContraAST do."""
    maps = model.encoder(batch.style.flip(3), ("relu3_1",))["relu3_1"]
    return Crops(model.style_head(maps), torch.arange(len(batch.style)))


@pytest.mark.parametrize(
    ("variant", "crops"),
    [("reference", None), ("reference", true_crops), ("paper", None)],
    ids=["reference", "true crops", "paper"],
)
@pytest.mark.usefixtures("quiet")
def test_gradients_are_those_of_one_large_batch(
    build, parts, gradients, joined, difference, monkeypatch, variant, crops
):
    if crops is not None:
        monkeypatch.setattr(InternalExternal, "_crops", crops)
    model = build(effective_batch=2 * HALF * PARTS, variant=variant)
    found = gradients(model, parts, "64-true")
    large = build(variant=variant)
    monkeypatch.setattr(large, "arrange", in_parts)
    wanted = gradients(large, [joined(parts)], "64-true")
    assert len(found) == len(wanted) == 2  # discriminator, generator
    for ours, expected in zip(found, wanted, strict=True):
        assert difference(ours, expected) < 1e-9
    assert {"style_head.mlp.0.weight", "generator.manner.mapping.0.weight"} <= found[-1].keys()
    manner, its = model.generator.manner, large.generator.manner
    assert manner.paintings == its.paintings == HALF * PARTS
    assert torch.allclose(manner.mean, its.mean, rtol=1e-5)

    plain = build(accumulate=PARTS, variant=variant)
    assert difference(gradients(plain, parts, "64-true")[-1], wanted[-1]) > 0.01


@pytest.mark.usefixtures("quiet")
def test_in_single_precision_they_are_so_but_for_a_rectifier_that_rounding_opens(
    build, draw, gradients, joined, difference
):
    """One batch in float32 is up to 2e-3 away from itself in float64, where a value lies at a rectifier's edge."""
    errors = []
    for seed in range(7):
        parts, large = draw(seed), build(CONTRASTS)  # the other terms round by more by themselves
        large.arrange = in_parts
        (found,) = gradients(build(CONTRASTS, effective_batch=2 * HALF * PARTS), parts, "32-true")
        (wanted,) = gradients(large, [joined(parts)], "32-true")
        errors.append(difference(found, wanted, "32-true"))
    assert statistics.median(errors) < 1e-4


def test_both_passes_see_the_same_vectors_whatever_is_random(build, parts, gradients, monkeypatch):
    seen = {"embedding": [], "training": []}
    call = LogitAccumulation.__call__

    def noting(self, name, loss, *rows):
        seen[self._stage].append((name, self.number, rows[0].detach()))
        return call(self, name, loss, *rows)

    monkeypatch.setattr(LogitAccumulation, "__call__", noting)
    model = build(effective_batch=2 * HALF * PARTS)
    for name, strength in model.generator.named_parameters():
        if name.endswith("strength.bias"):
            torch.nn.init.constant_(strength, 1.0)
    gradients(model, [parts[0]] * PARTS)
    assert len(seen["embedding"]) == len(seen["training"]) == 3 * PARTS
    for (name, number, first), (again, place, second) in zip(*seen.values(), strict=True):
        assert (name, number) == (again, place)
        assert torch.allclose(first, second, rtol=1e-9, atol=1e-12), name
    styles = [rows for name, _, rows in seen["training"] if name == "style_contrast"]
    assert not torch.allclose(styles[0], styles[1], rtol=1e-6)  # one batch, other noise


def test_bfloat16_reaches_every_parameter_that_float32_reaches(build, parts, gradients):
    half, full = (
        gradients(build(effective_batch=2 * HALF * PARTS), parts, precision) for precision in ("bf16-mixed", "32-true")
    )
    for ours, wanted in zip(half, full, strict=True):
        assert ours.keys() == wanted.keys()
        flat, expected = (torch.cat([g.flatten() for g in each.values()]) for each in (ours, wanted))
        assert torch.nn.functional.cosine_similarity(flat, expected, dim=0) > 0.98
