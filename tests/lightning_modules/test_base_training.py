"""The training half of the contract, on two toys: one network, and a generator against a discriminator."""

import copy
import random

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.cli import ReduceLROnPlateau
from lightning.pytorch.plugins.precision import HalfPrecision
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from datamodules.images import write_image
from datamodules.sources import ImageFolder, WikiArt
from datamodules.style_transfer import StyleTransferDataModule
from lightning_modules.base import StyleTransferModule
from lightning_modules.errors import ImpastoError
from lightning_modules.types import StyleBatch


class Painter(StyleTransferModule):
    """One convolution that learns to turn contents into styles; ``noise`` makes its loss random."""

    conditions = frozenset({"image", "text"})

    def __init__(self, *, noise=0.0, lr=0.1, adam=False, schedule=None, **settings):
        super().__init__(**settings)
        self.generator = nn.Conv2d(3, 3, 1)
        self.noise, self.lr, self.adam, self.schedule = noise, lr, adam, schedule

    def _render(self, content, manner):
        return self.generator(content) + torch.rand(1)

    def loss(self, batch):
        target = batch.style + self.noise * torch.rand_like(batch.style)
        return F.mse_loss(self.generator(batch.content), target)

    def training_step(self, batch, batch_idx):
        with self.optimizing(self._optimizers()[0]) as backward:
            loss = self.loss(batch)
            backward(loss)
        self.log_terms({"total": loss})

    def configure_optimizers(self):
        make = torch.optim.Adam if self.adam else torch.optim.SGD
        optimizer = make(self.generator.parameters(), lr=self.lr)
        if self.schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": LambdaLR(optimizer, self.schedule)}


class Rivals(Painter):
    """Generator and discriminator in turn; ``leaks`` notes gradients that one leaves in the other."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.discriminator = nn.Conv2d(3, 1, 1)
        self.leaks = []

    def training_step(self, batch, batch_idx):
        first, second = self._optimizers()
        with self.optimizing(first) as backward:
            fake = self.generator(batch.content) + self.noise * torch.rand_like(batch.content)
            backward(F.softplus(-self.discriminator(fake)).mean())
            self.note(self.discriminator)
        with self.optimizing(second) as backward:
            fake = self.generator(batch.content)
            backward(F.softplus(self.discriminator(fake)).mean())
            backward(F.softplus(-self.discriminator(batch.style)).mean())
            self.note(self.generator)

    def note(self, other):
        self.leaks += [p for p in other.parameters() if p.grad is not None and p.grad.any()]

    def configure_optimizers(self):
        networks = (self.generator, self.discriminator)
        optimizers = [torch.optim.Adam(network.parameters(), lr=self.lr) for network in networks]
        return optimizers, [LambdaLR(o, lambda step: 1 / (1 + step)) for o in optimizers]


class Watch(Callback):
    """Notes what happens at the end of every micro-batch."""

    def __init__(self):
        self.steps, self.rates, self.generators = [], [], []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.steps.append(trainer.global_step)
        self.rates.append([o.param_groups[0]["lr"] for o in trainer.optimizers])
        self.generators.append(copy.deepcopy(pl_module.generator))


def batches(count, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        StyleBatch(
            torch.rand(size, 3, 8, 8, generator=generator),
            torch.rand(size, 3, 8, 8, generator=generator),
            torch.arange(size),
            [f"artist {n}" for n in range(size)],
            torch.arange(size),
        )
        for _ in range(count)
    ]


def loader(data):
    return DataLoader(data, batch_size=None)


@pytest.fixture
def train(quiet_trainer):
    """Return a function that fits and returns the watch; ``data`` is a list of batches or a data module."""

    def run(module, data, *, validation=None, **settings):
        watch = Watch()
        settings = {"max_epochs": 1, "limit_val_batches": 1 if validation else 0} | settings
        trainer = quiet_trainer(num_sanity_val_steps=0, callbacks=[watch], **settings)
        trainer.fit(module, loader(data), loader(validation) if validation else None)
        return watch

    return run


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# ---- counting --------------------------------------------------------------------------------------------------------


def test_max_steps_are_iterations_however_many_optimisers(train):
    rivals = Rivals()
    watch = train(rivals, batches(10), max_epochs=-1, max_steps=7)
    assert watch.steps == [1, 2, 3, 4, 5, 6, 7]
    assert rivals.trainer.global_step == 7
    for optimizer in rivals.trainer.optimizers:
        assert {int(state["step"]) for state in optimizer.state.values()} == {7}


def test_schedules_step_once_per_iteration_and_before_callbacks_may_save(train):
    watch = train(Rivals(lr=0.6), batches(4))
    expected = 0.6 / torch.tensor([2.0, 3.0, 4.0, 5.0])
    assert torch.allclose(torch.tensor(watch.rates), expected[:, None].expand(4, 2))


def test_schedules_count_optimiser_steps_under_accumulation(train):
    seen = []
    train(Painter(accumulate=2, schedule=lambda step: seen.append(step) or 1.0), batches(5))
    assert seen == [0, 1, 2, 3]


class Alternating(Rivals):
    """Steps its two networks in turn, window by window, and every fifth window neither."""

    def training_step(self, batch, batch_idx):
        turn = (batch_idx // self.accumulate) % 5
        if turn == 4:
            return
        network = self.generator if turn % 2 else self.discriminator
        with self.optimizing(self._optimizers()[0 if turn % 2 else 1]) as backward:
            backward(network(batch.content).square().mean())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_windows_are_counted_whichever_optimiser_steps_in_them(train, accumulate):
    module = Alternating(accumulate=accumulate)
    watch = train(module, batches(20), max_epochs=-1, max_steps=6)
    assert module.trainer.global_step == 6
    assert watch.steps[-1] == 6
    # Discriminator, generator, discriminator, generator, nobody, discriminator; callbacks see the empty window late.
    assert watch.steps[accumulate - 1 :: accumulate] == [1, 2, 3, 4, 4, 6]
    steps = [{int(state["step"]) for state in o.state.values()} for o in module.trainer.optimizers]
    assert steps == [{2}, {3}]


# ---- gradients -------------------------------------------------------------------------------------------------------


class Chunked(Painter):
    """Takes its batch in pieces of one sample, each with a backward pass of its own."""

    def training_step(self, batch, batch_idx):
        pieces = zip(batch.content.split(1), batch.style.split(1), strict=True)
        with self.optimizing(self._optimizers()[0]) as backward:
            for content, style in pieces:
                backward(F.mse_loss(self.generator(content), style) / len(batch.content))


def test_backward_passes_over_pieces_are_one_step(train):
    pieces, whole = Chunked(clip=0.05), Painter(clip=0.05)
    whole.load_state_dict(pieces.state_dict())
    data = batches(3)
    assert train(pieces, data).steps == [1, 2, 3]
    train(whole, data)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(pieces.parameters(), whole.parameters(), strict=True))


class Projecting(Painter):
    """Learns one target, less what points towards another."""

    def training_step(self, batch, batch_idx):
        with self.role_gradients(self._optimizers()[0], ("keep", "avoid"), self.combine) as roles:
            out = self.generator(batch.content)
            roles.backward("keep", F.mse_loss(out, batch.style), retain_graph=True)
            roles.backward("avoid", out.square().mean())

    @staticmethod
    def combine(gradients):
        p, n = (torch.cat([g.flatten() for g in gradients[role]]) for role in ("keep", "avoid"))
        combined = p - (p @ n) / (n @ n) * n
        shapes = gradients["keep"]
        return [part.view_as(g) for part, g in zip(combined.split([g.numel() for g in shapes]), shapes, strict=True)]


def test_role_gradients_are_combined_once_a_window_and_clipped_after(train):
    small = batches(4, size=2)
    double = [StyleBatch(torch.cat([a.content, b.content]), torch.cat([a.style, b.style]), torch.arange(4),
                         a.prompt + b.prompt, torch.arange(4)) for a, b in (small[:2], small[2:])]  # fmt: skip
    accumulating, plain = Projecting(accumulate=2, clip=0.05), Projecting(clip=0.05)
    plain.load_state_dict(accumulating.state_dict())
    literal = copy.deepcopy(plain.generator)
    assert train(accumulating, small).steps == [0, 1, 1, 2]
    train(plain, double)
    for batch in double:
        out = literal(batch.content)
        p, n = (
            torch.autograd.grad(loss, list(literal.parameters()), retain_graph=True)
            for loss in (F.mse_loss(out, batch.style), out.square().mean())
        )
        step = Projecting.combine({"keep": p, "avoid": n})
        norm = torch.cat([g.flatten() for g in step]).norm()
        with torch.no_grad():
            for parameter, gradient in zip(literal.parameters(), step, strict=True):
                parameter -= 0.1 * gradient * min(1.0, 0.05 / float(norm))
    for ours, one, other in zip(
        literal.parameters(), plain.generator.parameters(), accumulating.generator.parameters(), strict=True
    ):
        assert torch.allclose(one, ours, atol=1e-6)
        assert torch.allclose(other, ours, atol=1e-6)


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_half_precision_of_the_weights_is_refused_in_one_sentence(train, precision):
    with pytest.raises(ImpastoError, match=rf"precision {precision} .* take bf16-mixed") as failure:
        train(Painter(), batches(1), plugins=[HalfPrecision(precision)])
    assert "\n" not in str(failure.value)


def test_toggling_leaves_no_gradient_in_the_other_network(train):
    rivals = Rivals()
    train(rivals, batches(3))
    assert rivals.leaks == []
    assert all(p.requires_grad for p in rivals.parameters())
    assert all(p.grad is None or not p.grad.any() for p in rivals.parameters())


def test_the_discriminator_trains_as_if_it_were_alone(train):
    rivals = Rivals(lr=0.01)
    start = copy.deepcopy(rivals)
    data = batches(1)
    train(rivals, data)
    fake = rivals.generator(data[0].content).detach()  # the generator moved first
    loss = F.softplus(start.discriminator(fake)).mean() + F.softplus(-start.discriminator(data[0].style)).mean()
    loss.backward()
    torch.optim.Adam(start.discriminator.parameters(), lr=0.01).step()
    for ours, plain in zip(rivals.discriminator.parameters(), start.discriminator.parameters(), strict=True):
        assert torch.allclose(ours, plain, atol=1e-7)


@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_clipping_is_that_of_torch(clip, train):
    painter = Painter(clip=clip)
    plain = copy.deepcopy(painter)
    data = batches(1)
    train(painter, data)
    plain.loss(data[0]).backward()
    norm = torch.cat([p.grad.flatten() for p in plain.parameters()]).norm()
    assert (norm > clip) == (clip < 1)
    with torch.no_grad():
        for ours, parameter in zip(painter.parameters(), plain.parameters(), strict=True):
            expected = parameter - 0.1 * parameter.grad * min(1.0, clip / float(norm))
            assert torch.allclose(ours, expected, atol=1e-6)


def test_two_micro_batches_equal_one_batch_of_both(train):
    small = batches(4, size=2)
    double = [StyleBatch(torch.cat([a.content, b.content]), torch.cat([a.style, b.style]), torch.arange(4),
                         a.prompt + b.prompt, torch.arange(4)) for a, b in (small[:2], small[2:])]  # fmt: skip
    accumulating, plain = Painter(accumulate=2, clip=0.05), Painter(clip=0.05)
    plain.load_state_dict(accumulating.state_dict())
    assert train(accumulating, small).steps == [0, 1, 1, 2]
    assert train(plain, double).steps == [1, 2]
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(accumulating.parameters(), plain.parameters(), strict=True)
    )


def test_an_incomplete_window_steps_at_the_end_of_the_epoch(train):
    painter = Painter(accumulate=2)
    data = batches(3)
    watch = train(painter, data)
    assert watch.steps == [0, 1, 2]
    before = watch.generators[1]
    F.mse_loss(before(data[2].content), data[2].style).div(2).backward()  # a missing micro-batch counts as no gradient
    with torch.no_grad():
        for ours, parameter in zip(painter.parameters(), before.parameters(), strict=True):
            assert torch.allclose(ours, parameter - 0.1 * parameter.grad, atol=1e-7)


# ---- randomness ------------------------------------------------------------------------------------------------------


def test_validation_in_between_does_not_change_training(train):
    alone, interrupted = Painter(noise=1.0), Painter(noise=1.0)
    interrupted.load_state_dict(alone.state_dict())
    train(alone, batches(4))
    train(interrupted, batches(4), validation=batches(1), val_check_interval=1)
    assert same(alone, interrupted)


def test_every_iteration_draws_other_numbers_and_the_seed_decides_which(train):
    results = []
    start = Painter(noise=1.0, lr=1.0)
    for seed in (1, 1, 2):
        painter = copy.deepcopy(start)
        seed_everything(seed)
        data = batches(1) * 2
        watch = train(painter, data)
        results.append((painter, watch))
    assert same(results[0][0], results[1][0])
    assert not same(results[0][0], results[2][0])


def test_bfloat16_training_keeps_float32_weights(train):
    painter = Painter(clip=1.0)
    before = painter.generator.weight.detach().clone()
    train(painter, batches(3), precision="bf16-mixed")
    assert painter.generator.weight.dtype == torch.float32
    assert torch.isfinite(painter.generator.weight).all()
    assert not torch.equal(before, painter.generator.weight)


# ---- resume ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for folder in ("contents", "art/ann", "art/bob", "art/cid"):
        (root / folder).mkdir(parents=True)
        for number in range(5):
            write_image(torch.rand(3, 24, 24, generator=generator), root / folder / f"{number}.png")
    return root


def data_module(root):
    return StyleTransferDataModule(
        ImageFolder(root / "contents", holdout=0.2),
        WikiArt(root / "art", holdout=0.2),
        size=16,
        batch_size=4,
        artists_per_batch=2,
        batches_per_epoch=4,
        workers=0,
    )


class Save(Callback):
    """Saves where every checkpoint callback does: in the middle of an epoch, before the module's own hook."""

    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step and not self.path.exists():  # not within an accumulation
            trainer.save_checkpoint(self.path)


@pytest.fixture
def fit(quiet_trainer, pictures):
    """Return a function that trains on the pictures, with a validation every three iterations."""

    def run(module, *, steps=11, callbacks=(), **arguments):
        trainer = quiet_trainer(
            max_epochs=-1,
            max_steps=steps,
            val_check_interval=3,
            check_val_every_n_epoch=None,
            limit_val_batches=1,
            callbacks=list(callbacks),
        )
        trainer.fit(module, datamodule=data_module(pictures), **arguments)
        assert trainer.global_step == steps
        return module

    return run


class Spreading(Painter):
    """Spreads what it paints over an effective batch of two batches."""

    effective_batch = 8

    def training_step(self, batch, batch_idx):
        for part in self.parts_to_embed(batch, len(batch.content)):
            with torch.no_grad():
                self.spread(part)
        for part in self.parts_to_train(batch):
            with self.optimizing(self._optimizers()[0]) as backward:
                backward(self.spread(part) + self.loss(part))

    def spread(self, batch):
        noisy = self.generator(batch.content + self.noise * torch.rand_like(batch.content))
        return self.contrasts("spread", lambda rows: (rows.var(0) - 1).square().mean(), noisy.flatten(1))


@pytest.mark.parametrize(
    ("kind", "accumulate"), [(Painter, 1), (Painter, 2), (Rivals, 1), (Rivals, 2), (Spreading, 1), (Spreading, 2)]
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, fit, kind, accumulate):
    settings = {"noise": 1.0, "lr": 0.05, "clip": 1.0, "validate_with": "image", "accumulate": accumulate}
    if kind is Painter:
        settings |= {"adam": True, "schedule": lambda step: 1 / (1 + step)}
    stops = range(3, 9)  # an epoch has 4 batches, validation comes every 3
    saves = [Save(tmp_path / f"{stop}.ckpt", stop) for stop in stops]
    straight = fit(kind(**settings), callbacks=saves)
    for stop in stops:
        torch.rand(stop)  # another process has drawn other numbers
        resumed = kind(**settings)
        assert not same(straight, resumed)
        fit(resumed, ckpt_path=tmp_path / f"{stop}.ckpt", weights_only=True)
        assert same(straight, resumed), f"resumed after iteration {stop}"


def test_a_checkpoint_after_the_end_of_fit_continues_too(tmp_path, fit):
    settings = {"noise": 1.0, "lr": 0.05, "validate_with": "image"}
    start = Rivals(**settings)
    straight = fit(copy.deepcopy(start))
    stopped = fit(start, steps=6)
    stopped.trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert not same(straight, stopped)
    assert same(straight, fit(Rivals(**settings), ckpt_path=tmp_path / "a.ckpt", weights_only=True))


class Follows(Painter):
    """A schedule that looks at a metric of the validation."""

    def __init__(self, monitor="val/x", **settings):
        super().__init__(**settings)
        self.monitor = monitor

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.generator.parameters(), lr=self.lr)
        schedule = ReduceLROnPlateau(optimizer, self.monitor, factor=0.5, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class Measures(Callback):
    """Logs one value after the other, one in each validation."""

    def __init__(self, *values):
        self.values = list(values)
        self.rates = []

    def on_validation_epoch_end(self, trainer, module):
        module.log("val/x", self.values.pop(0))

    def on_validation_end(self, trainer, module):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_a_schedule_that_follows_a_metric_steps_with_the_validation(quiet_trainer):
    measures = Measures(3.0, 4.0, 2.0, 5.0)
    trainer = quiet_trainer(max_epochs=4, num_sanity_val_steps=0, callbacks=[measures])
    trainer.fit(Follows(lr=0.1), loader(batches(2)), loader(batches(1)))
    assert measures.rates == pytest.approx([0.1, 0.05, 0.05, 0.025])


def test_a_schedule_that_follows_what_nobody_measures_is_one_sentence(quiet_trainer):
    trainer = quiet_trainer(max_epochs=1, num_sanity_val_steps=0, callbacks=[Measures(1.0)])
    with pytest.raises(ImpastoError, match=r"follows val/y, and the validation measures val/x"):
        trainer.fit(Follows("val/y"), loader(batches(2)), loader(batches(1)))


class Draws(Painter):
    """Notes what the global generators of Python and NumPy give in every step."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.drawn = []

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        self.drawn.append((random.random(), np.random.rand()))  # noqa: NPY002


def test_python_and_numpy_draw_by_the_iteration_too(quiet_trainer):
    drawn = []
    for disturbance in (1, 2):
        seed_everything(0)
        random.seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002
        module = Draws()
        quiet_trainer(max_epochs=1, num_sanity_val_steps=0, limit_val_batches=0).fit(module, loader(batches(2)))
        drawn.append(module.drawn)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 2
