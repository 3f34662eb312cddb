"""What a step makes of the terms: weights of the YAML, the scales of the balance, and the means of both modalities."""

from functools import partial

import pytest
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from lightning_modules.clast.prompts import TEMPLATES

RATE = 1e-3


class Data(LightningDataModule):
    artists = ("Ada Stipple", "Bob Hatch")
    paintings_per_artist = (3, 8)

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)


class Frames:
    """What the model was before each step, and what it drew; stands in for ``loss_terms`` and calls it."""

    def __init__(self, model):
        self.model, self.loss_terms, self.seen = model, model.loss_terms, []

    def __call__(self, batch):
        state = {name: value.clone() for name, value in self.model.state_dict().items() if torch.is_tensor(value)}
        self.seen.append((state, torch.get_rng_state()))
        return self.loss_terms(batch)


@pytest.fixture
def fit(quiet_trainer):
    """Return a function that trains a model, one step a batch: what was before each step, and what was logged."""

    def run(model, batches):
        model.loss_terms = frames = Frames(model)
        trainer = quiet_trainer(max_steps=len(batches), precision="64-true")
        trainer.fit(model, Data(batches))
        return frames.seen, trainer.callback_metrics

    return run


def test_a_step_descends_the_sum_of_weight_times_scale_times_term(build, fit, equations):
    clast, twin = (build(balance_every=2, balance_until=4) for _ in range(2))
    clast.make_optimizer = partial(torch.optim.SGD, lr=RATE)
    batches = [equations.batch(seed=seed) for seed in range(3)]
    before, logged = fit(clast, batches)
    after = [state for state, _ in before[1:]] + [clast.state_dict()]
    norms = []
    for step, ((state, drawn), data) in enumerate(zip(before, batches, strict=True)):
        twin.load_state_dict(state, strict=False)
        torch.set_rng_state(drawn)
        terms, pictures = twin.loss_terms(data)
        if step % 2 == 0:
            at = {name: torch.autograd.grad(term, pictures, retain_graph=True)[0] for name, term in terms.items()}
            norms.append({name: float(gradient.norm()) for name, gradient in at.items()})
        means = {name: sum(measured[name] for measured in norms) / len(norms) for name in terms}
        scale = {name: means["content"] / means[name] if name in clast.balance.terms else 1.0 for name in terms}
        weight = {name: getattr(equations.weights, name) * scale[name] for name in terms}
        total = sum(weight[name] * term for name, term in terms.items())
        expected = equations.gradients(twin, total)
        critic = equations.gradients(twin, twin.critic.loss())
        expected |= {name: gradient for name, gradient in critic.items() if name.startswith("critic.")}
        rates = {name: equations.critic_rate if name.startswith("critic.") else RATE for name in expected}
        stepped = {name: (state[name] - after[step][name]) / rates[name] for name in expected}
        equations.check_equal(stepped, expected, f"step {step}", rel=1e-5)  # the balance measures in float32
    assert len(norms) == 2
    assert float(logged["train/total"]) == pytest.approx(float(total.detach()), rel=1e-5)
    for name, term in terms.items():
        assert float(logged[f"train/{name}"]) == pytest.approx(float(term.detach())), name
        assert float(logged[f"weight/{name}"]) == pytest.approx(weight[name], rel=1e-5), name


def test_the_means_are_those_of_the_artists_sentences_and_of_the_style_pictures(build, fit, equations):
    clast = build(prototype_shrinkage=4.0)
    clast.make_optimizer = partial(torch.optim.SGD, lr=0.0)
    batches = [equations.batch(seed=seed) for seed in range(2)]
    fit(clast, batches)

    def unit(vectors):
        return vectors / vectors.norm(dim=-1, keepdim=True)

    sentences = [template.format(name) for name in Data.artists for template in TEMPLATES]
    texts = unit(clast.clip_encoder.encode_text(sentences))
    assert torch.allclose(clast.style_code.text_mean, texts.mean(0))
    styles = [unit(clast.clip_encoder.encode_image(data.style)) for data in batches]
    assert torch.allclose(clast.style_code.image_mean, torch.cat(styles).mean(0))
    known = clast.prototypes
    assert known.artists == Data.artists
    assert known.paintings.flatten().tolist() == list(Data.paintings_per_artist)
    assert torch.allclose(known.texts, unit(torch.stack([clast.prompts.ensemble(name) for name in Data.artists])))
    artist = torch.cat([data.artist for data in batches])
    for label in range(2):
        assert torch.allclose(known.means[label], torch.cat(styles)[artist == label].mean(0))
