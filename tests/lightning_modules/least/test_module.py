"""LEAST as a method: what `stylize` promises, and what a Trainer makes of jobs."""

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from torchvision.transforms import functional as TF

from lightning_modules.errors import ImpastoError
from lightning_modules.least import LEAST, beginnings
from lightning_modules.least.fitting import with_contrast
from lightning_modules.least.progress import Gallery, Plateau, key_of
from lightning_modules.least.settings import Canvas, Patches
from lightning_modules.types import JobBatch

SIZE = (40, 56)


def pictures(count=1, size=SIZE, seed=0):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def region(count=1, size=SIZE):
    mask = torch.zeros(count, 1, *size)
    for number in range(count):
        mask[number, :, 8 : 30 - number, 10 + 3 * number : 40] = 1
    return mask


def in_float64(*models):
    """Take rounding away: Adam's first steps are signs, also of what is nearly 0."""
    for model in models:
        model.load_loss_networks()
        model.double()


# ---------------------------------------------------------------------- stylize


@pytest.mark.parametrize("soft", [False, True])
def test_nothing_changes_outside_of_the_mask(small, soft):
    content, mask = pictures(), region()
    mask = mask * 0.6 if soft else mask
    painted = small().stylize(content, prompt="cubism", mask=mask)
    outside = (mask == 0).expand_as(content)
    assert torch.equal(painted[outside], content[outside])
    assert float((painted - content)[~outside].abs().mean()) > 0.02


def test_a_soft_mask_mixes(small):
    content, mask, model = pictures(), region(), small()
    painted = model.stylize(content, prompt="cubism", mask=mask * 0.1)
    inside = mask.bool().expand_as(content)
    assert 0 < float((painted - content)[inside].abs().max()) <= 0.1


def test_no_mask_is_a_mask_of_ones(small):
    model, content = small(), pictures()
    painted = model.stylize(content, prompt="cubism")
    assert torch.equal(painted, model.stylize(content, prompt="cubism", mask=torch.ones_like(content[:, :1])))
    assert float((painted - content).abs().amin((1,)).mean()) > 0.01


def test_a_seed_is_a_picture(small):
    content, mask = pictures(), region()

    def seeded(seed):
        model = small()  # which reseeds
        torch.manual_seed(seed)
        return model.stylize(content, prompt="cubism", mask=mask)

    assert torch.equal(seeded(1), seeded(1))
    assert float((seeded(1) - seeded(2)).abs().max()) > 1e-3


@pytest.mark.parametrize("side_by_side", [2, 3])
def test_side_by_side_is_one_by_one(small, side_by_side):
    content, mask, prompts = pictures(3), region(3), ["cubism", "white wool", "cubism"]
    one, other = small(), small(jobs_per_device=side_by_side)
    in_float64(one, other)
    content, mask = content.double(), mask.double()
    separate = [
        one.stylize(content[n : n + 1], prompt=prompts[n], mask=mask[n : n + 1]) for n in range(3)
    ]  # each from the same seed
    together = other.stylize(content, prompt=prompts, mask=mask)
    assert torch.allclose(together, torch.cat(separate), atol=1e-6)


def test_a_mask_of_one_pixel_and_one_that_is_nowhere_whole(small):
    content, mask = pictures(), torch.zeros(1, 1, *SIZE)
    mask[..., 39, 55] = 0.3
    painted = small().stylize(content, prompt="cubism", mask=mask)
    assert torch.isfinite(painted).all()
    assert int((painted != content).any(1).sum()) == 1


def test_an_empty_mask_is_one_sentence(small):
    content, model = pictures(2), small()
    for mask in (torch.zeros(2, 1, *SIZE), region(2) * torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)):
        with pytest.raises(ImpastoError, match="mask is empty"):
            model.stylize(content, prompt="cubism", mask=mask)


def test_strength_goes_from_the_content_to_the_painting_and_beyond(small):
    model, content = small(), pictures() * 0.2 + 0.4
    painted = {alpha: model.stylize(content, prompt="cubism", alpha=alpha) for alpha in (0.0, 0.5, 1.0, 1.2)}
    assert torch.equal(painted[0.0], content)
    assert torch.allclose(painted[0.5], (content + painted[1.0]) / 2, atol=1e-6)
    expected = (content + 1.2 * (painted[1.0] - content)).clamp(0, 1)
    assert torch.allclose(painted[1.2], expected, atol=1e-6)


def test_frozen_networks_get_no_gradients_and_are_asked_once_an_iteration(small):
    model, content = small(), pictures()
    model.load_loss_networks()
    calls = {"clip": [], "vgg": []}
    model.clip_encoder.model.visual.register_forward_hook(lambda _, given, __: calls["clip"].append(len(given[0])))
    model.encoder.register_forward_hook(lambda *_: calls["vgg"].append(1))
    model.stylize(content, prompt="cubism", mask=region())
    assert calls["clip"] == [2, 4, 4]  # content twice; then three patches and the region, in one call
    assert len(calls["vgg"]) == 3
    frozen = [p for part in (model.clip_encoder, model.encoder) for p in part.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in frozen)


def test_controls_say_how_long_a_fit_is(small):
    model, content, seen = small(), pictures(), []
    model.on_iteration = lambda iteration, count, terms: seen.append((iteration, count, sorted(terms)))
    model.stylize(content, prompt="cubism", controls={"iterations": 4})
    assert seen == [(number, 4, ["content", "direction", "patch", "tv"]) for number in range(4)]
    names = [control.name for control in model.offered]
    assert names == ["alpha", "iterations", "patience", "feather", "context"]


def test_a_fit_that_gains_nothing_ends(small):
    model, seen = small(), []
    model.make_optimizer = lambda weights: torch.optim.SGD(weights, lr=0.0)
    model.on_iteration = lambda iteration, *_: seen.append(iteration)
    model.stylize(pictures(), prompt="cubism", controls={"iterations": 60, "patience": 3})
    assert 3 <= len(seen) < 30


def test_a_plateau_is_noticed_job_by_job():
    plateau = Plateau(2)
    stopped = [plateau.update(torch.tensor([1.0, 1.0 - 0.02 * step]), 4).tolist() for step in range(12)]
    assert stopped[3] == [False, False]
    assert stopped[-1] == [True, False]
    assert [one for one, _ in stopped] == sorted(one for one, _ in stopped)  # who stands still does not move again
    plateau.start()
    assert plateau.update(torch.tensor([2.0, 2.0]), 4).tolist() == [False, False]


def test_the_content_can_be_the_beginning(small):
    content = pictures() * 0.5 + 0.2
    model = small(begin="content", residual=0.0, controls={"iterations": 1})
    assert model.plan.residual == 0.0
    near = small(begin="content", residual=1e-3, controls={"iterations": 1}, canvas=Canvas(size=56, crop=False))
    painted = near.stylize(content, prompt="cubism")
    assert float((painted - content).abs().mean()) < 0.01


def test_the_painting_of_another_method_can_be_the_beginning(small, monkeypatch):
    class Painter:
        conditions = frozenset({"text", "image"})
        requires = frozenset()

        def to(self, device):
            return self

        def stylize(self, content, *, prompt):
            assert list(prompt) == ["cubism"]
            return torch.full_like(content, 0.25)

    monkeypatch.setattr(beginnings, "load_checkpoint", lambda path: Painter())
    model = small(begin="other.ckpt", residual=1e-3, controls={"iterations": 1})
    painted = model.stylize(pictures(), prompt="cubism")
    assert float((painted - 0.25).abs().max()) < 0.02
    assert not any("begin" in name for name in model.state_dict())
    monkeypatch.setattr(Painter, "conditions", frozenset({"image"}))
    with pytest.raises(ImpastoError, match="paint by a prompt alone"):
        small(begin="other.ckpt").stylize(pictures(), prompt="cubism")


def test_a_fitted_network_paints_at_the_pictures_size(small):
    content = pictures(size=(96, 96))
    sides = []
    model = small(canvas=Canvas(size=32, repaint=64))
    model.load_loss_networks()
    enlarged = small(canvas=Canvas(size=32))
    original = model.fitting.painting

    def painting(network, jobs, job):
        handle = network.register_forward_hook(lambda _, given, __: sides.append(given[0].shape[-1]))
        result = original(network, jobs, job)
        handle.remove()
        return result

    model.fitting.painting = painting
    painted = model.stylize(content, prompt="cubism")
    assert sides == [64]
    assert not torch.allclose(painted, enlarged.stylize(content, prompt="cubism"), atol=1e-3)


def test_contrast_is_torchvisions():
    image = pictures()[0]
    assert torch.allclose(with_contrast(image, 1.5), TF.adjust_contrast(image, 1.5), atol=1e-6)
    assert with_contrast(image, 1.0) is image


def test_contrast_comes_before_the_picture_is_put_together(small):
    content, mask = pictures(), region()
    plain, strong = (small(contrast=factor).stylize(content, prompt="cubism", mask=mask) for factor in (1.0, 1.5))
    inside = mask.bool().expand_as(content)
    assert float(strong[inside].std()) > 1.1 * float(plain[inside].std())
    assert torch.equal(strong[~inside], content[~inside])


def test_patches_below_the_threshold_stop_pulling(fitting, order):
    def gradient(threshold):
        fast = fitting(patches=Patches(6, 20, threshold=threshold))
        jobs = fast.prepare(order())
        canvas = torch.rand(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        canvas.requires_grad_()
        fast.terms_of(canvas, jobs, fast.draws(jobs, 0))["patch"].sum().backward()
        return canvas.grad

    assert gradient(0.0).any()
    assert not gradient(2.1).any()


def test_settings_that_do_not_fit_are_one_sentence(small):
    for wrong in ({"templates": "none"}, {"templates": ["a painting"]}, {"jobs_per_device": 0}):
        with pytest.raises(ImpastoError):
            small(**wrong)


# ---------------------------------------------------------------------- under a Trainer


class Jobs(LightningDataModule):
    """Jobs in order, all iterations of one batch before the next."""

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
def test_a_fit_under_a_trainer_paints_what_stylize_paints(fit, small, monkeypatch, side_by_side):
    model = small(jobs_per_device=side_by_side)
    plain = small()
    in_float64(model, plain)
    data = Jobs(3, side_by_side)
    data.batches = [part._replace(content=part.content.double(), mask=part.mask.double()) for part in data.batches]
    _, trainer = fit(data, model)
    assert trainer.global_step == len(Jobs(3, side_by_side).batches)
    assert len(list(model.gallery.buffers())) == 3
    assert {"train/total", "train/patch", "train/content"} <= set(trainer.callback_metrics)
    batch = Jobs.batch(range(3), 0)
    torch.manual_seed(7)
    expected = plain.stylize(batch.content.double(), prompt=batch.prompt, mask=batch.mask)
    monkeypatch.setattr(LEAST, "_fit", lambda *_: pytest.fail("it is painted already"))
    painted = model.stylize(batch.content, prompt=batch.prompt, mask=batch.mask)
    assert float((painted - expected).abs().max()) < 0.5 / 255 + 1e-5
    again = small(jobs_per_device=side_by_side)
    again.load_state_dict(model.state_dict())
    assert torch.equal(painted, again.stylize(batch.content, prompt=batch.prompt, mask=batch.mask))


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_killed_fit_goes_on_in_the_middle_of_a_job(fit, small, tmp_path, stop):
    arguments = {"controls": {"iterations": 3, "patience": 2}, "jobs_per_device": 2}
    whole, _ = fit(Jobs(3, 2, 3), **arguments)
    _, trainer = fit(Jobs(3, 2, 3), steps=stop, **arguments)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    rest = Jobs(3, 2, 3)
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


def test_a_job_begins_with_nothing_of_the_one_before(fit):
    one, _ = fit(Jobs(2, 1, 2))
    data = Jobs(2, 1, 2)
    data.batches = data.batches[2:]
    other, _ = fit(data)
    for (name, a), b in zip(one.network.named_parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_job_that_the_data_ends_early_is_kept_as_it_is(fit):
    model, _ = fit(Jobs(2, 1, 2), controls={"iterations": 50})
    assert len(list(model.gallery.buffers())) == 1  # the last one may go on


def test_a_validation_within_a_fit_shows_what_there_is(fit, monkeypatch):
    shown = []
    batch = Jobs.batch(range(2), 0)
    monkeypatch.setattr(LEAST, "_fit", lambda *_: pytest.fail("a validation is no fit"))

    def look(self, *args):
        super(LEAST, self).on_train_batch_end(*args)
        shown.append(self.stylize(batch.content, prompt=batch.prompt, mask=batch.mask))

    monkeypatch.setattr(LEAST, "on_train_batch_end", look, raising=False)
    fit(Jobs(2, 1, 2))
    assert len(shown) == 4
    assert not torch.equal(shown[0][0], batch.content[0])
    assert torch.equal(shown[0][1], batch.content[1])  # nobody has touched it yet
    assert not torch.equal(shown[3][1], batch.content[1])
    assert float((shown[1][0] - shown[3][0]).abs().max()) == 0


def test_data_that_does_not_fit_is_one_sentence(fit):
    with pytest.raises(ImpastoError, match="set both to the same number"):
        fit(Jobs(2, 2))
    data = Jobs(1)
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


# ---------------------------------------------------------------------- what is remembered


def test_a_gallery_keeps_eight_bits_and_finds_them_again():
    gallery, picture = Gallery(), pictures()[0]
    gallery.add("job_a", picture)
    assert float((gallery.get("job_a") - picture).abs().max()) <= 0.5 / 255 + 1e-6
    assert gallery.get("job_b") is None
    again = Gallery()
    again.load_state_dict(gallery.state_dict())
    assert torch.equal(again.get("job_a"), gallery.get("job_a"))


def test_a_key_changes_with_everything_that_a_painting_depends_on():
    content, mask = pictures()[0], region()[0]
    key = key_of(content, mask, "cubism", 200)
    assert key == key_of(content.double(), mask, "cubism", 200)
    brighter, other = content.clone(), mask.clone()
    brighter[0, 0, 0] += 1 / 255
    other[0, 0, 0] = 1
    variants = [(brighter, mask, "cubism", 200), (content, other, "cubism", 200), (content, mask, "wool", 200)]
    assert len({key, key_of(content, mask, "cubism", 100), *(key_of(*variant) for variant in variants)}) == 5
