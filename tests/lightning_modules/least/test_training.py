"""LEAST under a Trainer: what becomes of jobs."""

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_modules.errors import ImpastoError
from lightning_modules.least import LEAST
from lightning_modules.types import JobBatch


@pytest.fixture
def jobs(pictures, region):
    """Return a data module of jobs in order, all iterations of one batch before the next."""

    class Jobs(LightningDataModule):
        artists = ("a",)

        def __init__(self, jobs=2, side_by_side=1, iterations=2):
            super().__init__()
            self.batches = [
                self.batch(range(first, min(first + side_by_side, jobs)), iteration)
                for first in range(0, jobs, side_by_side)
                for iteration in range(iterations)
            ]

        @staticmethod
        def batch(numbers, iteration):
            numbers = list(numbers)
            labels = torch.tensor(numbers)
            count = len(numbers)
            content, mask = pictures(5)[numbers], region(5)[numbers]
            styles = [f"style {number}" for number in numbers]
            return JobBatch(content, mask, styles, labels, labels, ["thing"] * count, torch.full((count,), iteration))

        def train_dataloader(self):
            return DataLoader(self.batches, batch_size=None)

    return Jobs


@pytest.fixture
def fit(small, quiet_trainer, monkeypatch):
    """Return a function that fits a module to jobs under a Trainer."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")

    def run(data, model=None, steps=-1, ckpt_path=None, **arguments):
        model = small(**arguments) if model is None else model
        trainer = quiet_trainer(max_epochs=1, max_steps=steps, limit_val_batches=0, num_sanity_val_steps=0)
        trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
        return model, trainer

    return run


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_a_fit_under_a_trainer_paints_what_stylize_paints(fit, small, monkeypatch, side_by_side, in_float64, jobs):
    model = small(jobs_per_device=side_by_side)
    plain = small()
    in_float64(model, plain)
    data = jobs(3, side_by_side)
    data.batches = [part._replace(content=part.content.double(), mask=part.mask.double()) for part in data.batches]
    _, trainer = fit(data, model)
    assert trainer.global_step == len(jobs(3, side_by_side).batches)
    assert len(list(model.gallery.buffers())) == 3
    assert {"train/total", "train/patch", "train/content"} <= set(trainer.callback_metrics)
    batch = jobs.batch(range(3), 0)
    torch.manual_seed(7)
    expected = plain.stylize(batch.content.double(), prompt=batch.prompt, mask=batch.mask)
    monkeypatch.setattr(LEAST, "_fit", lambda *_: pytest.fail("it is painted already"))
    painted = model.stylize(batch.content, prompt=batch.prompt, mask=batch.mask)
    assert float((painted - expected).abs().max()) < 0.5 / 255 + 1e-5
    again = small(jobs_per_device=side_by_side)
    again.load_state_dict(model.state_dict())
    assert torch.equal(painted, again.stylize(batch.content, prompt=batch.prompt, mask=batch.mask))


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_a_fit_under_a_trainer_clips_as_stylize_does(fit, small, clipped, side_by_side, in_float64, jobs):
    model, plain = small(jobs_per_device=side_by_side, **clipped), small(**clipped)
    in_float64(model, plain)
    data = jobs(3, side_by_side, iterations=3)
    data.batches = [part._replace(content=part.content.double(), mask=part.mask.double()) for part in data.batches]
    fit(data, model)
    batch = jobs.batch(range(3), 0)
    torch.manual_seed(7)
    expected = plain.stylize(batch.content.double(), prompt=batch.prompt, mask=batch.mask)
    painted = model.stylize(batch.content, prompt=batch.prompt, mask=batch.mask)
    assert float((painted - expected).abs().max()) < 0.5 / 255 + 1e-5


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_killed_fit_goes_on_in_the_middle_of_a_job(fit, small, tmp_path, stop, jobs):
    arguments = {"controls": {"iterations": 3, "patience": 2}, "jobs_per_device": 2}
    whole, _ = fit(jobs(3, 2, 3), **arguments)
    _, trainer = fit(jobs(3, 2, 3), steps=stop, **arguments)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    rest = jobs(3, 2, 3)
    rest.batches = rest.batches[stop:]  # as a data module does that remembers where it was
    again, _ = resumed(fit, rest, path, small(**arguments))
    one, other = whole.state_dict(), again.state_dict()
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def resumed(fit, data, path, model):
    checkpoint = torch.load(path, weights_only=True)
    model.load_state_dict(checkpoint["state_dict"])
    configure = model.configure_optimizers

    def configured():
        optimizer = configure()
        optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        return optimizer

    model.configure_optimizers = configured
    return fit(data, model)


def test_a_job_begins_with_nothing_of_the_one_before(fit, jobs):
    one, _ = fit(jobs(2, 1, 2))
    data = jobs(2, 1, 2)
    data.batches = data.batches[2:]
    other, _ = fit(data)
    for (name, a), b in zip(one.network.named_parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_job_that_the_data_ends_early_is_kept_as_it_is(fit, jobs):
    model, _ = fit(jobs(2, 1, 2), controls={"iterations": 50})
    assert len(list(model.gallery.buffers())) == 1  # the last one may go on


def test_a_validation_within_a_fit_shows_what_there_is(fit, monkeypatch, jobs):
    shown = []
    batch = jobs.batch(range(2), 0)
    monkeypatch.setattr(LEAST, "_fit", lambda *_: pytest.fail("a validation is no fit"))

    def look(self, *args):
        super(LEAST, self).on_train_batch_end(*args)
        shown.append(self.stylize(batch.content, prompt=batch.prompt, mask=batch.mask))

    monkeypatch.setattr(LEAST, "on_train_batch_end", look, raising=False)
    fit(jobs(2, 1, 2))
    assert len(shown) == 4
    assert not torch.equal(shown[0][0], batch.content[0])
    assert torch.equal(shown[0][1], batch.content[1])  # nobody has touched it yet
    assert not torch.equal(shown[3][1], batch.content[1])
    assert float((shown[1][0] - shown[3][0]).abs().max()) == 0


def test_data_that_does_not_fit_is_one_sentence(fit, jobs):
    with pytest.raises(ImpastoError, match="set both to the same number"):
        fit(jobs(2, 2))
    data = jobs(1)
    data.batches = [batch._replace(iteration=None) for batch in data.batches]
    with pytest.raises(ImpastoError, match="fits jobs"):
        fit(data)


def test_several_devices_are_refused(small):
    class Trainer:
        world_size = 2

    model = small()
    model._trainer = Trainer()
    with pytest.raises(ImpastoError, match="predict"):
        model.setup("fit")
