"""Effective batches: a step over several micro-batches and ranks is the step of one process with one large batch."""

import lightning_modules  # noqa: F401  (a spawned rank reads this file first: the shim must come before lightning)

# isort: split
import os
import socket

import pytest
import torch
from lightning import Trainer
from torch import distributed as dist
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import Experiment
from lightning_modules.losses.distributed import gather_with_gradient

SIZE, STEPS = 4, 3


class Comparing(Experiment):
    """An encoder that spreads its vectors over a batch, judged by a rival who moves first."""

    def __init__(self, effective_batch=None, *, clip=0.05, accumulate=1):
        super().__init__(clip=clip, accumulate=accumulate)
        self.effective_batch = effective_batch
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))
        self.temperature = nn.Parameter(torch.tensor(0.5))
        self.rival = nn.Linear(4, 1)
        self.logged, self.learnt = [], 0

    def training_step(self, batch, batch_idx):
        for part in self.parts_to_embed(batch, len(batch)):
            with torch.no_grad():
                vectors = self.encoder(part)
                self.contrasts("spread", self.spread, vectors)
            self.train_rival(part, vectors)
        for part in self.parts_to_train(batch):
            vectors = self.encoder(part)
            if not self.contrasts.active:
                self.train_rival(part, vectors.detach())
            with self.optimizing(self._optimizers()[0]) as backward:
                terms = {
                    "spread": self.contrasts("spread", self.spread, vectors),
                    "own": (vectors - part.mean(1, keepdim=True)).square().mean(),
                    "adversarial": self.rival(vectors).square().mean(),
                }
                backward(0.3 * terms["spread"] + terms["own"] + terms["adversarial"])
            self.log_terms(terms)

    def train_rival(self, part, vectors):
        with self.optimizing(self._optimizers()[1]) as backward:
            loss = (self.rival(vectors) - part.sum(1, keepdim=True)).square().mean()
            backward(loss)
        self.log_terms({"rival": loss})

    def spread(self, vectors):
        vectors = gather_with_gradient(vectors)
        logits = vectors @ vectors.T / self.temperature
        return logits.logsumexp(1).sum() - logits.diagonal().sum()

    def learn_statistics(self, batch):
        assert not self.contrasts.active
        self.learnt += len(batch)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        super().on_train_batch_end(outputs, batch, batch_idx)
        if self.window_ends:
            self.logged.append({name: float(value) for name, value in self.trainer.callback_metrics.items()})

    def configure_optimizers(self):
        trained = [*self.encoder.parameters(), self.temperature]
        return torch.optim.Adam(trained, 0.05), torch.optim.SGD(self.rival.parameters(), 0.3)


def data(count, size=SIZE):
    generator = torch.Generator().manual_seed(1)
    return list(torch.randn(count, size, 3, generator=generator, dtype=torch.float64))


def joined(batches, count):
    return [torch.cat(batches[start : start + count]) for start in range(0, len(batches), count)]


def fit(module, batches, **options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    settings = {"accelerator": "cpu", "max_epochs": 1, "precision": "64-true", "use_distributed_sampler": False}
    trainer = Trainer(**settings, **quiet, **options)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return module


def assert_alike(one, other):
    for (name, ours), expected in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (1, 0.05), (3, 0.05)])
def test_micro_batches_are_one_large_batch(accumulate, clip):
    batches = data(4 * STEPS)
    parts = fit(Comparing(4 * SIZE, clip=clip, accumulate=accumulate), batches)
    whole = fit(Comparing(clip=clip, accumulate=accumulate), joined(batches, 4))
    assert parts.trainer.global_step == whole.trainer.global_step == STEPS / accumulate
    assert_alike(parts, whole)
    assert parts.learnt == sum(map(len, batches))
    assert not torch.equal(parts.temperature, Comparing().temperature)


def test_the_logged_terms_are_those_of_the_large_batch():
    batches = data(4 * STEPS)
    parts, whole = fit(Comparing(4 * SIZE), batches), fit(Comparing(), joined(batches, 4))
    assert len(parts.logged) == len(whole.logged) == STEPS
    for ours, expected in zip(parts.logged, whole.logged, strict=True):
        assert ours.keys() == expected.keys() == {f"train/{name}" for name in ("spread", "own", "adversarial", "rival")}
        assert ours == pytest.approx(expected, rel=1e-5)


def test_accumulation_alone_is_something_else():
    batches = data(4 * STEPS)
    with pytest.raises(AssertionError):
        assert_alike(fit(Comparing(accumulate=4), batches), fit(Comparing(), joined(batches, 4)))


def test_what_is_left_at_the_end_of_an_epoch_is_a_smaller_batch():
    batches = data(5)
    parts = fit(Comparing(2 * SIZE), batches, max_steps=-1)
    whole = fit(Comparing(), [*joined(batches[:4], 2), batches[4]], max_steps=-1)
    assert parts.trainer.global_step == 3
    assert_alike(parts, whole)


def test_a_micro_batch_as_large_as_the_effective_one_takes_the_plain_path():
    plain, same = fit(Comparing(), data(STEPS)), fit(Comparing(SIZE), data(STEPS))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), same.parameters(), strict=True))
    assert same.learnt == 0


def test_what_a_stopped_fit_left_behind_is_forgotten():
    batches, module = data(3), Comparing(2 * SIZE)
    fit(module, batches[:2])
    module.contrasts.keep(batches[2], torch.device("cpu"))
    twin = Comparing(2 * SIZE).double()
    twin.load_state_dict(module.state_dict())
    assert_alike(fit(module, batches[:2]), fit(twin, batches[:2]))


@pytest.mark.parametrize(("effective", "advice"), [(6, "4 or 8"), (3, "4 or 8"), (15, "12 or 16"), (-4, "4 or 8")])
def test_an_effective_batch_is_a_whole_number_of_micro_batches(effective, advice):
    with pytest.raises(ImpastoError, match=f"effective_batch {effective} .* 4 pictures .* {advice}") as failure:
        fit(Comparing(effective), data(1))
    assert "\n" not in str(failure.value)


# ---- two ranks -------------------------------------------------------------------------------------------------------


def rank_main(rank, port, out):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"RANK": str(rank), "NODE_RANK": "0"}
    reduce, reduced = dist.all_reduce, []

    def noting(tensor, *rest, **options):
        if tensor.ndim:  # Trainer agrees with scalars on when to stop
            reduced.append(tensor.numel())
        return reduce(tensor, *rest, **options)

    dist.all_reduce = noting
    module = fit(Comparing(8 * SIZE), data(8 * STEPS)[rank::2], devices=2, strategy="ddp")
    torch.save({"state": module.state_dict(), "reduced": reduced, "logged": module.logged}, f"{out}{rank}.pt")


def test_two_ranks_are_one_process_and_reduce_once_a_step(tmp_path, run_ranks):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    run_ranks(rank_main, port, str(tmp_path / "rank"))
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    whole = fit(Comparing(), joined(data(8 * STEPS), 8))
    for name, expected in whole.state_dict().items():
        assert torch.equal(first["state"][name], second["state"][name]), name
        assert torch.allclose(first["state"][name], expected, rtol=1e-9, atol=1e-12), name
    for ours, expected in zip(first["logged"], whole.logged, strict=True):
        assert ours["train/spread"] == pytest.approx(expected["train/spread"], rel=1e-5)
    # Every optimiser's parameters with a flag each, and in between the gradient of the vectors of both ranks.
    rival, encoder = (sum(p.numel() + 1 for p in group) for group in (whole.rival.parameters(), trained(whole)))
    assert first["reduced"] == [rival, 8 * SIZE * 4, encoder] * STEPS


def trained(module):
    return [*module.encoder.parameters(), module.temperature]
