"""What every method promises, asked of every method that has a tiny profile."""

import copy

import pytest
import torch
import yaml

from experiments.training import main
from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.shipped import write_painter

STEPS = 3  # with zero-initialised gates, what lies behind them moves one step later


@pytest.fixture(scope="module")
def build(stylist, tiny):
    """Return a function that builds the method's module and data as the command line does."""

    def call():
        cli = main(["fit", *tiny(stylist), "--trainer.logger", "false"], run=False)
        return cli.model, cli.datamodule

    return call


@pytest.fixture(scope="module")
def trained(build, quiet_trainer, tmp_path_factory):
    """Return the module before and after a few steps, the trainer, and the checkpoint, which not all methods have."""
    module, data = build()
    module.load_loss_networks()  # as a fit does; here so that the copy has them too
    before = copy.deepcopy(module)
    trainer = quiet_trainer(max_steps=STEPS, max_epochs=-1, limit_val_batches=0, log_every_n_steps=1)
    if not module.trains:  # it paints as it was built
        trainer.validate(module, datamodule=data, verbose=False)
        return before, module.eval(), trainer, None
    trainer.fit(module, datamodule=data)
    path = tmp_path_factory.mktemp("contract") / "a.ckpt"
    trainer.save_checkpoint(path)
    return before, module.eval(), trainer, path


@pytest.fixture
def learnt(trained):
    """Return the same of a method that learns from a training set."""
    if not trained[1].trains:
        pytest.skip("this method learns nothing")
    return trained


def pictures(batch, height, width, seed=0):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def conditions_of(module, batch=1):
    """Return one set of keyword arguments for each condition that the module takes by itself."""
    choices = {"text": {"prompt": "Ada Stipple"}, "image": {"style": pictures(batch, 56, 72, seed=9)}}
    return [arguments for condition, arguments in choices.items() if condition in module.conditions]


def frozen_parts(module):
    return [part for part in module.modules() if isinstance(part, FrozenNetwork)]


def test_the_method_has_one_name(build, stylist):
    module, _ = build()
    assert module.method == stylist
    assert {"text", "image"} & module.conditions


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (48, 33), (7, 120), (1, 1)])
def test_any_size_comes_back_as_it_was_in_range(trained, size):
    _, module, *_ = trained
    content = pictures(2, *size)
    for condition in conditions_of(module, batch=2):
        picture = module.stylize(content, **condition)
        assert picture.shape == content.shape
        assert picture.dtype == torch.float32
        assert torch.isfinite(picture).all()
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


def test_samples_of_a_batch_do_not_see_each_other(trained):
    _, module, *_ = trained
    content = pictures(2, 64, 64)
    for condition in conditions_of(module):
        both = module.stylize(content, **condition)
        assert torch.allclose(both[1:], module.stylize(content[1:], **condition), atol=1e-3)


@pytest.mark.bitwise
def test_stylizing_is_a_function_of_its_input(trained):
    _, module, *_ = trained
    content = pictures(1, 64, 64)
    for condition in conditions_of(module):
        torch.manual_seed(1)
        one = module.stylize(content, **condition)
        torch.manual_seed(1)
        assert torch.equal(one, module.stylize(content, **condition))


@pytest.mark.bitwise
def test_the_seed_decides_the_initial_weights_and_the_data(build):
    (one, one_data), (other, other_data) = build(), build()
    for (name, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    batches = []
    for data in (one_data, other_data):
        data.prepare_data()
        data.setup("fit")
        batches.append(next(iter(data.train_dataloader())))
    assert torch.equal(batches[0].content, batches[1].content)
    assert batches[0].prompt == batches[1].prompt


def test_a_condition_that_the_method_does_not_take_is_named(trained):
    _, module, *_ = trained
    content = pictures(1, 64, 64)
    given = {"text": {"prompt": "Ada"}, "image": {"style": content}, "region": {"mask": content[:, :1]}}
    for condition in given.keys() - module.conditions:
        with pytest.raises(ImpastoError, match=condition):
            module.stylize(content, **given[condition])
    with pytest.raises(ImpastoError, match="needs a style"):
        module.stylize(content)


def test_every_trained_tensor_moves_and_no_frozen_one_does(learnt):
    before, after, *_ = learnt
    start = dict(before.named_parameters())
    moved = {name for name, p in after.named_parameters() if not torch.equal(p, start[name])}
    trainable = {name for name, p in start.items() if p.requires_grad}
    assert trainable - moved == set()
    assert moved - trainable == set()
    for old, new in zip(frozen_parts(before), frozen_parts(after), strict=True):
        assert not new.training
        for a, b in zip(old.state_dict().values(), new.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_iterations_are_counted_and_terms_logged(learnt):
    *_, trainer, _ = learnt
    assert trainer.global_step == STEPS
    terms = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("train/")}
    assert len(terms) >= 2
    assert all(torch.isfinite(value) for value in terms.values())


@pytest.mark.bitwise
def test_a_checkpoint_alone_rebuilds_the_module(learnt):
    _, module, _, path = learnt
    again = load_checkpoint(path)
    assert type(again) is type(module)
    assert again.recipe == module.recipe
    assert set(again.state_dict()) == set(module.state_dict())
    content = pictures(1, 64, 80)
    for condition in conditions_of(module):
        assert torch.equal(again.stylize(content, **condition), module.stylize(content, **condition))


def test_a_checkpoint_that_paints_brings_no_frozen_network_that_painting_does_without(learnt):
    *_, path = learnt
    again = load_checkpoint(path)
    ran = set()
    for part in frozen_parts(again):
        for layer in part.modules():
            layer.register_forward_hook(lambda *_, part=part: ran.add(part))
    for condition in conditions_of(again):
        again.stylize(pictures(1, 64, 64), **condition)
    assert ran == set(frozen_parts(again))


@pytest.mark.bitwise
def test_what_only_losses_look_through_does_not_paint(learnt):
    *_, path = learnt
    one, other = load_checkpoint(path), load_checkpoint(path)
    parts = [getattr(other, part) for part in other.loss_parts]  # None where the profile has no such loss
    spared = [weight for part in parts if part is not None for weight in part.parameters()]
    with torch.no_grad():
        for weight in spared:
            weight.add_(1)
    for condition in conditions_of(one):
        content = pictures(1, 64, 80)
        assert torch.equal(one.stylize(content, **condition), other.stylize(content, **condition))


def test_a_checkpoint_ships_in_half_precision(learnt, tmp_path):
    *_, path = learnt
    one, file = load_checkpoint(path), tmp_path / "painter.safetensors"
    write_painter(torch.load(path, weights_only=True), file, without=one.loss_parts, measured={})
    assert file.stat().st_size < 3e6  # two of them in 6 MB
    other = load_checkpoint(file)
    assert set(other.state_dict()) == set(one.state_dict())
    for condition in conditions_of(one):
        away = one.stylize(pictures(1, 64, 80), **condition) - other.stylize(pictures(1, 64, 80), **condition)
        assert float(away.abs().mean()) < 0.5 / 255


def test_a_recipe_says_what_auto_has_taken(stylist, tiny, tmp_path, monkeypatch):
    for variable in ("TORCH_HOME", "HF_HOME", "IMPASTO_WEIGHTS"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr("lightning_modules.weights.files.reachable", lambda _: False)
    monkeypatch.setenv("IMPASTO_AUTO_WEIGHTS", "{}")
    options = [*tiny(stylist), "--trainer.logger", "false", "--model.weights", "auto"]
    cli = main(["fit", *options], run=False)
    assert yaml.safe_load(cli.model.recipe)["init_args"]["weights"] == "embedded"
    assert cli.config["fit"].model.init_args.weights == "embedded"  # what `config.yaml` is made of


def test_a_checkpoint_holds_no_frozen_network(learnt):
    _, module, _, path = learnt
    frozen = {id(value) for part in frozen_parts(module) for value in part.state_dict(keep_vars=True).values()}
    expected = {name for name, value in module.named_parameters() if id(value) not in frozen}
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert expected <= set(saved)
    assert not {name for name, value in module.named_parameters() if id(value) in frozen} & set(saved)


def test_different_styles_give_different_pictures(trained):
    _, module, *_ = trained
    content = pictures(1, 64, 64)
    if "text" in module.conditions:
        artists = module.trainer.datamodule.artists[:5]
        different([module.stylize(content, prompt=name) for name in artists])
    if "image" in module.conditions:
        different([module.stylize(content, style=pictures(1, 64, 64, seed) ** seed) for seed in range(1, 5)])


def test_alpha_changes_the_strength(trained):
    _, module, *_ = trained
    content = pictures(1, 64, 64)
    for condition in conditions_of(module):
        different([module.stylize(content, alpha=alpha, **condition) for alpha in (0.0, 1.0, 1.5)])


def different(results):
    for number, one in enumerate(results):
        for other in results[:number]:
            away = float((one - other).abs().mean())
            assert away > 1e-4, (
                f"pictures differ by {away:.1g} after {STEPS} iterations: either what was changed does not arrive, or "
                "the networks start so small that they paint next to nothing (nn.init.kaiming_normal_ helps a decoder)"
            )


def test_defaults_of_controls_are_configured(stylist, tiny):
    options = [*tiny(stylist), "--trainer.logger", "false", "--model.controls", "{alpha: 0.5}"]
    model = main(["fit", *options], run=False).model
    assert model.offered[0].name == "alpha"
    assert model.offered[0].default == 0.5
    assert "alpha: 0.5" in model.recipe


def test_validation_stylizes_with_the_truth_beside(trained):
    _, module, *_ = trained
    batch = next(iter(module.trainer.datamodule.val_dataloader()))
    output = module.validation_step(batch, 0)
    assert output["stylized"].shape == batch.content.shape
    assert output["truth"] is batch.truth
    assert list(output["prompt"]) == batch.prompt
