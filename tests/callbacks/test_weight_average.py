"""The running mean of the weights, on two optimisers that alternate by hand, with accumulation."""

import copy

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader

from callbacks.weight_average import KEY, WeightAverage
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import Experiment
from lightning_modules.networks.frozen import FrozenNetwork

DECAY = 0.5


class Lens(FrozenNetwork):
    def __init__(self):
        super().__init__("random")
        self.scale = nn.Parameter(torch.ones(2))
        self.freeze()


class Pair(Experiment):
    """A player and an adversary; the second steps in every other window only."""

    def __init__(self):
        super().__init__(accumulate=2)
        torch.manual_seed(0)
        self.player, self.adversary, self.lens = nn.Linear(2, 2), nn.Linear(2, 1), Lens()
        self.register_buffer("count", torch.zeros(()))
        self.validated = []

    def configure_optimizers(self):
        return [torch.optim.Adam(part.parameters(), lr=0.1) for part in (self.player, self.adversary)]

    def training_step(self, batch, batch_idx):
        self.count += 1
        player, adversary = self.optimizers()
        noise = torch.randn(2)
        if batch_idx % 4 > 1:
            with self.optimizing(adversary) as backward:
                backward(self.adversary(noise).square().sum())
        with self.optimizing(player) as backward:
            backward(self.adversary(self.player(noise) * self.lens.scale).square().sum())

    def validation_step(self, batch, batch_idx):
        self.validated.append(trained(self))


class Log(Callback):
    """Notes the weights after every iteration."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step:  # 0 in the first half of the first window
            self.seen[trainer.global_step] = trained(pl_module)


def trained(module):
    return {name: weight.detach().clone() for name, weight in module.named_parameters() if weight.requires_grad}


def batches():
    return DataLoader([torch.zeros(1)] * 8, batch_size=None)  # an epoch: 4 iterations


@pytest.fixture
def fit(quiet_trainer):
    """Return a function that trains for some iterations, from a checkpoint or not."""

    def run(steps, *callbacks, ckpt_path=None, module=None):
        module = module or Pair()
        trainer = quiet_trainer(max_steps=steps, max_epochs=-1, callbacks=list(callbacks), num_sanity_val_steps=1)
        trainer.fit(module, batches(), batches(), ckpt_path=ckpt_path, weights_only=True)
        return module, trainer

    return run


def averages(start, seen, decay):
    """The slow way: every weight in float64."""
    means, history = {name: value.double() for name, value in start.items()}, {}
    for number in range(1, len(seen) + 1):
        keep = min(decay, number / (number + 9))
        means = {name: keep * mean + (1 - keep) * seen[number][name].double() for name, mean in means.items()}
        history[number] = means
    return history


def close(one, other):
    return all(
        torch.allclose(value.double(), other[name].double(), rtol=1e-5, atol=1e-7) for name, value in one.items()
    )


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_it_is_the_moving_average_of_all_that_is_trained(fit, decay):
    log, start = Log(), trained(Pair())
    module, _ = fit(8, log, WeightAverage(decay))
    means = averages(start, log.seen, decay)
    sanity, first, *_, last = module.validated
    assert equal(sanity, start)
    assert close(first, means[4])
    assert close(last, means[8])
    assert close(trained(module), means[8])
    assert float(module.count) == 16  # no average of buffers


def test_training_goes_on_as_if_there_were_no_average(fit):
    plain, averaged = Log(), Log()
    fit(8, plain)
    fit(8, averaged, WeightAverage(DECAY))
    assert all(equal(plain.seen[step], averaged.seen[step]) for step in range(1, 9))


def test_a_checkpoint_holds_the_average_as_its_state_and_the_weights_beside_it(fit, tmp_path):
    log = Log()
    module, trainer = fit(8, log, WeightAverage(DECAY))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert equal({name: saved["state_dict"][name] for name in trained(module)}, trained(module))
    assert equal(saved[KEY]["trained"], log.seen[8])
    assert not equal(saved[KEY]["trained"], trained(module))
    assert "lens.scale" not in saved["state_dict"]


class Save(Callback):
    """Saves at one iteration, and in the middle of the validation after it."""

    def __init__(self, folder, step=None):
        self.folder, self.step = folder, step

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.folder / "training.ckpt")

    def on_validation_batch_end(self, trainer, *args):
        if trainer.global_step == 4:
            trainer.save_checkpoint(self.folder / "validating.ckpt")


def test_a_resumed_run_ends_in_the_bits_of_an_uninterrupted_one(fit, tmp_path):
    straight, trainer = fit(12, WeightAverage(DECAY))
    trainer.save_checkpoint(tmp_path / "straight.ckpt")
    fit(4, WeightAverage(DECAY), Save(tmp_path, 4))
    for name in ("training", "validating"):  # the second as SLURM's requeue may do
        again, resumed = fit(12, WeightAverage(DECAY), ckpt_path=tmp_path / f"{name}.ckpt")
        resumed.save_checkpoint(tmp_path / "resumed.ckpt")
        one, other = (torch.load(tmp_path / f"{end}.ckpt", weights_only=True) for end in ("straight", "resumed"))
        assert one["global_step"] == other["global_step"] == 12
        assert equal(one["state_dict"], other["state_dict"]), name
        assert equal(one[KEY]["trained"], other[KEY]["trained"]), name
        states = [end["callbacks"]["WeightAverage"] for end in (one, other)]
        assert states[0] == states[1] == {"updates": 12, "seen": 12}
        assert equal(trained(straight), trained(again))


def test_a_run_that_is_continued_beyond_its_end_goes_on_from_the_weights(fit, tmp_path):
    long, longer = Log(), Log()
    fit(8, long, WeightAverage(DECAY))
    _, trainer = fit(4, WeightAverage(DECAY))
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    fit(8, longer, WeightAverage(DECAY), ckpt_path=tmp_path / "end.ckpt")
    assert equal(long.seen[8], longer.seen[8])


def test_a_run_without_an_average_is_continued_with_one(fit, tmp_path):
    _, trainer = fit(4)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    start, log = torch.load(tmp_path / "plain.ckpt", weights_only=True)["state_dict"], Log()
    module, _ = fit(8, log, WeightAverage(DECAY), ckpt_path=tmp_path / "plain.ckpt")
    seen = {step - 4: weights for step, weights in log.seen.items() if step > 4}
    assert close(trained(module), averages({name: start[name] for name in trained(module)}, seen, DECAY)[4])


def test_a_validation_of_its_own_measures_the_average(fit, quiet_trainer, tmp_path):
    module, trainer = fit(4, WeightAverage(DECAY))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    average, other = trained(module), Pair()
    alone = quiet_trainer(callbacks=[WeightAverage(DECAY)])
    alone.validate(other, batches(), ckpt_path=tmp_path / "a.ckpt", weights_only=True, verbose=False)
    assert equal(other.validated[-1], average)
    trainer.validate(module, batches(), verbose=False)  # by the trainer that has just trained
    assert equal(trained(module), average)


def test_a_module_may_be_trained_twice(fit):
    log = Log()
    callback, module = WeightAverage(DECAY), Pair()
    fit(4, log, callback, module=module)
    last = copy.deepcopy(log.seen[4])
    fit(4, callback, First(last), module=module)


class First(Callback):
    """Asserts that a training starts with these weights."""

    def __init__(self, weights):
        self.weights = weights

    def on_train_start(self, trainer, pl_module):
        assert equal(trained(pl_module), self.weights)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_one_sentence(decay):
    with pytest.raises(ImpastoError, match=r"lies in \[0, 1\)"):
        WeightAverage(decay)


class Adapted(Experiment):
    """Trains what is laid over a frozen network, as LoRA does: it has a name there too, which no checkpoint knows."""

    def __init__(self):
        super().__init__()
        self.lens = Lens()
        self.lens.extra = nn.Parameter(torch.ones(2))
        self.adapter = nn.ParameterList([self.lens.extra])

    def configure_optimizers(self):
        return torch.optim.Adam(self.adapter.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        with self.optimizing(self.optimizers()) as backward:
            backward((self.lens.extra * self.lens.scale).square().sum())


def test_the_average_of_an_adapter_is_what_its_checkpoint_holds(fit, tmp_path):
    module, trainer = fit(3, WeightAverage(DECAY), module=Adapted())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    state = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    assert list(state) == ["adapter.0"]
    assert torch.equal(state["adapter.0"], module.lens.extra)
    again = Adapted()
    again.load_state_dict(state)
    assert torch.equal(again.lens.extra, module.lens.extra)
