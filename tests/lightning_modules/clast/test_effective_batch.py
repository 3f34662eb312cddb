"""A step over an effective batch in parts is the step of one batch of that size."""

from functools import partial

import pytest
import torch

from lightning_modules.clast.settings import LossWeights
from lightning_modules.optim.logit_accumulation import LogitAccumulation
from lightning_modules.types import StyleBatch

SIZE, PARTS = 2, 3
ARTISTS = ("Ada Stipple", "Bob Hatch", "Cid Wash")


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(1)
    made = []
    for number in range(PARTS):
        content, style, reference = (torch.rand(SIZE, 3, 32, 32, generator=generator) for _ in range(3))
        artist = torch.tensor([number % 2, 2])  # all but one share an artist with a picture of another part
        made.append(StyleBatch(content, style, artist, [ARTISTS[a] for a in artist], torch.arange(SIZE), reference))
    return made


@pytest.fixture
def build(small_clast):
    """Return a function that builds a CLAST which knows the artists and steps by SGD."""

    def make(**settings):
        model = small_clast(**settings)
        model.make_optimizer = partial(torch.optim.SGD, lr=1e-4)
        model.prototypes.start(ARTISTS, model.prompts(list(ARTISTS)), [1, 2, 3])
        return model

    return make


@pytest.mark.parametrize(("precision", "tolerance"), [("64-true", 1e-6), ("32-true", 1e-4)])
def test_gradients_are_those_of_one_large_batch(
    build, parts, gradients, joined, difference, monkeypatch, precision, tolerance
):
    settings = {
        "loss": LossWeights(clip_patch=0.0, contrastive=2.0),  # patches are drawn: a large batch draws others
        "prototype_shrinkage": 2.0,
        "text_fraction": 1.0,
        "balance_until": 0,
    }

    def deterministic(**more):
        model = build(**settings, **more)
        monkeypatch.setattr(model, "_sentences", list)
        return model

    model, large = deterministic(effective_batch=SIZE * PARTS), deterministic()
    (found,), (wanted,) = (
        gradients(each, batches, precision) for each, batches in ((model, parts), (large, [joined(parts)]))
    )
    assert difference(found, wanted, precision) < tolerance
    assert found["proj.weight"].norm() > 0
    assert model.style_code.images_seen == large.style_code.images_seen == SIZE * PARTS
    for name in ("means", "seen"):
        assert torch.allclose(getattr(model.prototypes, name), getattr(large.prototypes, name), rtol=1e-5)
    assert torch.allclose(model.style_code.image_mean, large.style_code.image_mean, rtol=1e-5)

    (plain,) = gradients(deterministic(accumulate=PARTS), parts, precision)
    assert difference(plain, wanted) > 0.01


def test_both_passes_see_the_same_vectors_whatever_is_random(build, parts, gradients, monkeypatch):
    seen = {"embedding": [], "training": []}
    call = LogitAccumulation.__call__

    def noting(self, name, loss, *rows):
        seen[self._stage].append((self.number, rows[0].detach()))
        return call(self, name, loss, *rows)

    monkeypatch.setattr(LogitAccumulation, "__call__", noting)
    model = build(
        effective_batch=SIZE * PARTS, prototype_shrinkage=2.0, mixture_fraction=0.5, noise=True, balance_every=1
    )
    assert len(gradients(model, [parts[0]] * PARTS)) == 1
    assert model.balance.measurements == 1  # of the first part, and all have its weights
    assert [number for number, _ in seen["embedding"]] == [number for number, _ in seen["training"]] == [0, 1, 2]
    for (_, first), (_, second) in zip(*seen.values(), strict=True):
        assert torch.allclose(first, second, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(seen["training"][0][1], seen["training"][1][1], rtol=1e-6)  # one batch, other draws
