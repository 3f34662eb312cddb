"""A step over an effective batch in parts is the step of one batch of that size."""

from functools import partial
from itertools import chain

import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from lightning_modules.clast.settings import LossWeights
from lightning_modules.optim.logit_accumulation import LogitAccumulation
from lightning_modules.types import StyleBatch

SIZE, PARTS = 2, 3
ARTISTS = ("Ada Stipple", "Bob Hatch", "Cid Wash")


class Gradients(Callback):
    """Notes the gradients that every optimiser steps with."""

    def __init__(self):
        self.found = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        names = {parameter: name for name, parameter in pl_module.named_parameters()}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.found.append({names[p]: p.grad.clone() for p in parameters if p.grad is not None})


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(1)
    made = []
    for number in range(PARTS):
        content, style, reference = (torch.rand(SIZE, 3, 32, 32, generator=generator) for _ in range(3))
        artist = torch.tensor([number % 2, 2])  # all but one share an artist with a picture of another part
        made.append(StyleBatch(content, style, artist, [ARTISTS[a] for a in artist], torch.arange(SIZE), reference))
    return made


def joined(parts):
    columns = zip(*(part[:6] for part in parts), strict=True)
    return StyleBatch(*[torch.cat(column) if torch.is_tensor(column[0]) else [*chain(*column)] for column in columns])


def gradients(model, batches, trainer, precision="64-true"):
    noted = Gradients()
    model.make_optimizer = partial(torch.optim.SGD, lr=1e-4)
    model.prototypes.start(ARTISTS, model.prompts(list(ARTISTS)), [1, 2, 3])
    trainer(max_epochs=1, precision=precision, callbacks=[noted]).fit(model, DataLoader(batches, batch_size=None))
    return noted.found


def difference(found, wanted, precision="64-true"):
    """Return the largest error of a parameter's gradient, relative to it, or to what is not rounding noise.

    In float32 the networks' own backward pass rounds small gradients away: there it is relative to all of them.
    """
    assert found.keys() == wanted.keys()
    whole = float(torch.cat([gradient.flatten() for gradient in wanted.values()]).norm())
    least = whole if precision == "32-true" else 1e-3 * whole
    return max(float((found[name] - g).norm()) / max(float(g.norm()), least) for name, g in wanted.items())


@pytest.mark.parametrize(("precision", "tolerance"), [("64-true", 1e-6), ("32-true", 1e-4)])
def test_gradients_are_those_of_one_large_batch(small_clast, parts, quiet_trainer, monkeypatch, precision, tolerance):
    settings = {
        "loss": LossWeights(clip_patch=0.0, contrastive=2.0),  # patches are drawn: a large batch draws others
        "prototype_shrinkage": 2.0,
        "text_fraction": 1.0,
        "balance_until": 0,
    }

    def build(**more):
        model = small_clast(**settings, **more)
        monkeypatch.setattr(model, "_sentences", list)
        return model

    model, large = build(effective_batch=SIZE * PARTS), build()
    (found,), (wanted,) = (
        gradients(each, batches, quiet_trainer, precision)
        for each, batches in ((model, parts), (large, [joined(parts)]))
    )
    assert difference(found, wanted, precision) < tolerance
    assert found["proj.weight"].norm() > 0
    assert model.style_code.images_seen == large.style_code.images_seen == SIZE * PARTS
    for name in ("means", "seen"):
        assert torch.allclose(getattr(model.prototypes, name), getattr(large.prototypes, name), rtol=1e-5)
    assert torch.allclose(model.style_code.image_mean, large.style_code.image_mean, rtol=1e-5)

    (plain,) = gradients(build(accumulate=PARTS), parts, quiet_trainer, precision)
    assert difference(plain, wanted) > 0.01


def test_both_passes_see_the_same_vectors_whatever_is_random(small_clast, parts, quiet_trainer, monkeypatch):
    seen = {"embedding": [], "training": []}
    call = LogitAccumulation.__call__

    def noting(self, name, loss, *rows):
        seen[self._stage].append((self.number, rows[0].detach()))
        return call(self, name, loss, *rows)

    monkeypatch.setattr(LogitAccumulation, "__call__", noting)
    model = small_clast(
        effective_batch=SIZE * PARTS, prototype_shrinkage=2.0, mixture_fraction=0.5, noise=True, balance_every=1
    )
    assert len(gradients(model, [parts[0]] * PARTS, quiet_trainer)) == 1
    assert model.balance.measurements == 1  # of the first part, and all have its weights
    assert [number for number, _ in seen["embedding"]] == [number for number, _ in seen["training"]] == [0, 1, 2]
    for (_, first), (_, second) in zip(*seen.values(), strict=True):
        assert torch.allclose(first, second, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(seen["training"][0][1], seen["training"][1][1], rtol=1e-6)  # one batch, other draws
