"""Inference and checkpoints of the contract, on a toy; training is in test_base_training.py."""

import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import build, load_checkpoint
from lightning_modules.controls import Control
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.types import JobBatch, StyleBatch


class Lens(FrozenNetwork):
    def __init__(self, source):
        super().__init__(source)
        self.scale = nn.Parameter(torch.rand(3))
        self.freeze()


class Tinter(StyleTransferModule):
    """Mixes the content with one colour: the mean of the style image, or the length of the prompt."""

    conditions = frozenset({"image", "text"})

    def __init__(self, width: int = 3, source: str = "random", validate_with: str = "text", controls=None) -> None:
        super().__init__(validate_with=validate_with, controls=controls)
        self.lens = Lens(source)
        self.mix = nn.Conv2d(3, width, 1)
        nn.init.dirac_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)
        self.seen = None

    def _render(self, content, manner):
        self.seen = content.shape[-2:]
        if manner.prompt is not None:
            colour = torch.tensor([len(text) / 100 for text in manner.prompt]).view(-1, 1, 1, 1)
        else:
            colour = manner.style.mean((2, 3), keepdim=True)
        mixed = self.mix(content)
        return torch.lerp(mixed, colour.to(mixed).expand_as(mixed), manner.alpha)

    def training_step(self, batch, batch_idx):
        raise NotImplementedError


class TextOnly(Tinter):
    conditions = frozenset({"text"})


class Local(Tinter):
    """Paints a region, which it cannot do without, and takes a control."""

    conditions = frozenset({"image", "text", "region"})
    requires = frozenset({"region"})
    controls = (Control("gain", 1.0, "Brightness.", low=0.0, high=2.0),)

    def _render(self, content, manner):
        self.mask = manner.mask
        return manner.controls["gain"] * super()._render(content, manner)


class Fitter(Tinter):
    """Fits one colour to the style by gradient steps, for every picture anew."""

    optimises = True

    def _render(self, content, manner):
        goal = torch.full_like(content, 0.25) if manner.style is None else manner.style.mean((2, 3), keepdim=True)
        painted = content.clone().requires_grad_()
        for _ in range(20):
            loss = (painted - goal).square().sum() + 0 * self.mix(content).sum()
            (slope,) = torch.autograd.grad(loss, painted)
            painted = (painted - 0.25 * slope).detach().requires_grad_()
        return painted


def pictures(batch=2, height=20, width=24, seed=0):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def says(call, *words):
    """Check that a call fails in one line that holds all the words."""
    with pytest.raises(ImpastoError) as failure:
        call()
    text = str(failure.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


# ---- stylize ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (16, 16), (32, 48), (3, 200), (129, 2)])
def test_the_network_sees_whole_strides_and_the_picture_comes_back_where_it_was(size):
    content = pictures(2, *size)
    tinter = Tinter()
    result = tinter.stylize(content, prompt="x", alpha=0.0)
    assert torch.allclose(result, content, atol=1e-6)
    assert all(side % tinter.stride == 0 and side >= 2 * tinter.stride for side in tinter.seen)


def test_one_style_serves_a_whole_batch():
    content, style = pictures(3), pictures(3, seed=1)
    tinter = Tinter()
    one = tinter.stylize(content, style=style[:1])
    each = tinter.stylize(content, style=style)
    assert torch.equal(one[0], each[0])
    assert not torch.allclose(one[1], each[1])
    assert torch.allclose(one[:, :, 0, 0], style[0].mean((1, 2)).expand(3, -1), atol=1e-6)


def test_one_prompt_serves_a_whole_batch():
    content = pictures(2)
    tinter = Tinter()
    assert torch.equal(tinter.stylize(content, prompt="abc"), tinter.stylize(content, prompt=["abc", "abc"]))
    assert torch.allclose(tinter.stylize(content, prompt=["abc", "a"])[1], torch.tensor(0.01))


def test_alpha_leaves_paints_and_exaggerates_within_the_range():
    content, style = pictures(1), torch.full((1, 3, 8, 8), 0.9)
    tinter = Tinter()
    faint, half, full, wild = (tinter.stylize(content, style=style, alpha=alpha) for alpha in (0.0, 0.5, 1.0, 1.5))
    assert torch.allclose(faint, content, atol=1e-6)
    assert torch.allclose(half, (content + 0.9) / 2, atol=1e-6)
    assert torch.allclose(full, torch.tensor(0.9))
    assert torch.allclose(wild, (content + 1.5 * (0.9 - content)).clamp(0, 1), atol=1e-6)


def test_stylize_asks_for_no_gradient_and_returns_float32():
    with torch.autocast("cpu", torch.bfloat16):
        result = Tinter().stylize(pictures(), prompt="x")
    assert not result.requires_grad
    assert result.dtype == torch.float32


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.rand(3, 8, 8), ("content", "(3, 8, 8)")),
        (torch.rand(1, 1, 8, 8), ("content", "(1, 1, 8, 8)")),
        (torch.full((1, 3, 8, 8), 128.0), ("content", "[0, 1]", "128")),
        (torch.full((1, 3, 8, 8), -0.5), ("content", "[0, 1]", "-0.5")),
        (torch.full((1, 3, 8, 8), torch.nan), ("content", "[0, 1]", "nan")),
        (torch.zeros((1, 3, 8, 8), dtype=torch.uint8), ("content", "float", "uint8")),
    ],
)
def test_contents_that_are_no_pictures(content, words):
    says(lambda: Tinter().stylize(content, prompt="x"), *words)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({}, ("needs a style", "image or text")),
        ({"style": pictures(), "prompt": "x"}, ("not both",)),
        ({"prompt": ["a", "b", "c"]}, ("3 prompts", "2 content")),
        ({"style": pictures(3)}, ("3 style images", "2 content")),
        ({"style": 255 * pictures()}, ("style", "[0, 1]")),
        ({"style": pictures()[0]}, ("style", "(B, 3, H, W)")),
        ({"prompt": "x", "mask": torch.ones(2, 1, 20, 24)}, ("region", "image and text")),
    ],
)
def test_conditions_that_do_not_fit(condition, words):
    says(lambda: Tinter().stylize(pictures(), **condition), *words)


def test_a_condition_that_the_method_does_not_take():
    says(lambda: TextOnly().stylize(pictures(), style=pictures()), "TextOnly", "image", "only text")
    says(lambda: TextOnly(validate_with="image"), "TextOnly", "image", "text")


# ---- regions ---------------------------------------------------------------------------------------------------------


def half_masks(batch=2):
    mask = torch.zeros(batch, 1, 20, 24)
    mask[..., :12] = 1
    return mask


@pytest.mark.parametrize("mask", [half_masks(), half_masks(1), half_masks().bool(), half_masks().half()])
def test_a_mask_paints_where_it_is_one_and_leaves_every_other_bit(mask):
    content, local = pictures(), Local()
    result = local.stylize(content, prompt="x" * 50, mask=mask)
    assert torch.equal(result[..., 12:], content[..., 12:])
    assert torch.allclose(result[..., :12], torch.tensor(0.5))
    assert local.mask.shape == (2, 1, 32, 32)
    assert local.mask.dtype == content.dtype
    assert torch.equal(local.mask[..., :20, :24], half_masks())


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(2, 20, 24), ("mask", "(B, 1, 20, 24)", "(2, 20, 24)")),
        (torch.ones(2, 3, 20, 24), ("(2, 3, 20, 24)",)),
        (torch.ones(2, 1, 24, 20), ("(2, 1, 24, 20)",)),
        (torch.ones(3, 1, 20, 24), ("3 masks", "2 content")),
        (255 * torch.ones(2, 1, 20, 24), ("mask", "[0, 1]", "255")),
        (torch.full((2, 1, 20, 24), torch.nan), ("mask", "nan")),
        (torch.ones(2, 1, 20, 24, dtype=torch.uint8), ("bool or a float", "uint8")),
        (torch.zeros(2, 1, 20, 24), ("empty",)),
    ],
)
def test_masks_that_do_not_fit(mask, words):
    says(lambda: Local().stylize(pictures(), prompt="x", mask=mask), *words)


def test_what_a_method_requires_must_be_there():
    says(lambda: Local().stylize(pictures(), prompt="x"), "Local needs region", "give the region too")
    says(lambda: Local().stylize(pictures(), mask=half_masks()), "needs a style", "image or text")
    says(lambda: Local(validate_with="region"), "cannot validate with region", "image and text")


def test_validation_passes_all_that_is_required():
    batch = StyleBatch(pictures(), pictures(seed=1), torch.tensor([0, 1]), ["ab", "c"], torch.tensor([5, 6]))
    says(lambda: Local().validation_step(batch, 0), "needs a region", "the data brings none")
    output = Local().validation_step(batch._replace(mask=half_masks()), 0)
    assert torch.equal(output["stylized"][..., 12:], batch.content[..., 12:])
    assert torch.equal(output["mask"], half_masks())
    # A method without regions is not given one.
    assert torch.equal(
        Tinter().validation_step(batch._replace(mask=half_masks()), 0)["stylized"],
        Tinter().stylize(batch.content, prompt=batch.prompt),
    )


# ---- controls and gradients ------------------------------------------------------------------------------------------


def test_controls_reach_the_method_and_others_are_refused():
    local, asked = Local(), {"prompt": "x" * 50, "mask": half_masks()}
    bright = local.stylize(pictures(), controls={"gain": "2"}, **asked)
    assert torch.allclose(bright[..., :12], torch.tensor(1.0))
    assert torch.allclose(local.stylize(pictures(), **asked)[..., :12], torch.tensor(0.5))
    says(lambda: local.stylize(pictures(), controls={"gian": 2}, **asked), "no control 'gian'", "gain")
    says(lambda: local.stylize(pictures(), controls={"gain": 3}, **asked), "gain", "0 to 2")
    says(lambda: Tinter().stylize(pictures(), prompt="x", controls={"gain": 1}), "it has alpha")


def test_a_run_has_defaults_of_its_own_for_controls_and_strength():
    asked = {"prompt": "x" * 50, "mask": half_masks()}
    plain, local = Local(), Local(controls={"gain": 2, "alpha": "0.5"})
    assert [control.default for control in local.offered] == [0.5, 2.0]
    assert torch.equal(
        local.stylize(pictures(), **asked), plain.stylize(pictures(), alpha=0.5, controls={"gain": 2}, **asked)
    )
    given = local.stylize(pictures(), alpha=1, controls={"gain": 1}, **asked)
    assert torch.equal(given, plain.stylize(pictures(), **asked))
    assert torch.equal(given, local.stylize(pictures(), controls={"gain": 1, "alpha": 1}, **asked))
    batch = StyleBatch(pictures(), pictures(seed=1), torch.tensor([0, 1]), ["x" * 50] * 2, torch.tensor([5, 6]))
    shown = local.validation_step(batch._replace(mask=half_masks()), 0)["stylized"]
    assert torch.equal(shown, local.stylize(pictures(), **asked))
    says(lambda: Local(controls={"gian": 2}), "no control 'gian'", "alpha, gain")
    says(lambda: Local(controls={"gain": 9}), "gain", "0 to 2")
    says(lambda: plain.stylize(pictures(), alpha=-1, **asked), "alpha", "0 to 3")


def test_controls_travel_in_a_recipe():
    recipe = {"class_path": "lightning_modules.contraast.ContraAST", "init_args": {"controls": {"alpha": 0.25}}}
    assert [control.default for control in build_offers(recipe)] == [0.25]


def build_offers(recipe):
    adam = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1}}
    arguments = {"optimizer": adam, "discriminator_optimizer": adam, "weights": "embedded", "discriminator_width": 4}
    return build({**recipe, "init_args": {**recipe["init_args"], **arguments}}).offered


@pytest.mark.parametrize("evaluated", [False, True])
def test_a_method_that_optimises_has_gradients_wherever_it_is_called(quiet_trainer, evaluated):
    batch = StyleBatch(pictures(), pictures(seed=1), torch.tensor([0, 1]), ["ab", "c"], torch.tensor([5, 6]))
    fitter = Fitter(validate_with="image")
    if evaluated:
        loader = DataLoader([batch], batch_size=None)
        (output,) = quiet_trainer().predict(fitter, loader)
    else:
        with torch.no_grad():
            output = fitter.validation_step(batch, 0)
    assert torch.allclose(output["stylized"], batch.style.mean((2, 3), keepdim=True).expand(-1, -1, 20, 24), atol=1e-3)
    assert not output["stylized"].requires_grad
    assert fitter.mix.weight.grad is None


def test_a_method_that_does_not_optimise_builds_no_graph():
    class Watched(Tinter):
        def _render(self, content, manner):
            painted = super()._render(content, manner)
            assert not painted.requires_grad
            return painted

    Watched().stylize(pictures(), prompt="x")


def test_a_method_validates_with_text_where_it_takes_that_and_else_with_a_picture():
    class PictureOnly(Tinter):
        conditions = frozenset({"image", "region"})

    assert PictureOnly(validate_with=None).validate_with == "image"
    assert Tinter(validate_with=None).validate_with == "text"


@pytest.mark.parametrize("validate_with", ["text", "image"])
def test_validation_stylizes_with_the_condition_that_was_chosen(validate_with):
    batch = StyleBatch(pictures(), pictures(seed=1), torch.tensor([0, 1]), ["ab", "c"], torch.tensor([5, 6]))
    tinter = Tinter(validate_with=validate_with)
    output = tinter.validation_step(batch, 0)
    condition = {"prompt": batch.prompt} if validate_with == "text" else {"style": batch.style}
    assert torch.equal(output["stylized"], tinter.stylize(batch.content, **condition))
    assert "truth" not in output
    assert tinter.test_step(batch._replace(truth=batch.style), 0)["truth"] is batch.style


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def recipe(**arguments):
    return {"class_path": f"{Tinter.__module__}.Tinter", "init_args": arguments}


def write(path, tinter, **arguments):
    """Write what a Trainer would."""
    tinter.recipe = yaml.safe_dump(recipe(**arguments))
    checkpoint = {"state_dict": tinter.state_dict()}
    tinter.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return checkpoint


def test_the_method_is_named_after_its_package():
    from lightning_modules.clast import CLAST

    assert CLAST.__new__(CLAST).method == "clast"


def test_round_trip(tmp_path):
    tinter = Tinter()
    nn.init.normal_(tinter.mix.weight)
    write(tmp_path / "a.ckpt", tinter, source="random")
    again = load_checkpoint(tmp_path / "a.ckpt")
    assert not again.training
    content = pictures()
    assert torch.equal(again.stylize(content, prompt="x", alpha=0.5), tinter.stylize(content, prompt="x", alpha=0.5))


def test_frozen_networks_are_not_in_the_checkpoint_and_not_missed():
    tinter, other = Tinter(), Tinter()
    state = tinter.state_dict()
    assert sorted(state) == ["mix.bias", "mix.weight"]
    lens = other.lens.scale.clone()
    other.load_state_dict(state)
    assert torch.equal(other.lens.scale, lens)


def test_a_state_dict_of_a_part_is_that_of_torch():
    assert sorted(Tinter().state_dict(prefix="a.")) == ["a.mix.bias", "a.mix.weight"]


def test_tensors_that_do_not_fit():
    tinter, state = Tinter(), Tinter().state_dict()
    says(lambda: tinter.load_state_dict({"mix.bias": state["mix.bias"]}), "1 tensors are missing", "mix.weight")
    says(lambda: tinter.load_state_dict({**state, "more": torch.ones(1)}), "1 unexpected", "more")
    says(lambda: tinter.load_state_dict(Tinter(width=5).state_dict()), "2 tensors differ in shape", "mix.")
    assert tinter.load_state_dict({**state, "more": torch.ones(1)}, strict=False).unexpected_keys == ["more"]


def test_a_checkpoint_of_another_method_is_refused():
    checkpoint = {"impasto": {"method": "neat", "recipe": None, "frozen": {}}}
    says(lambda: Tinter().on_load_checkpoint(checkpoint), "neat", "not by tests")
    says(lambda: Tinter().on_load_checkpoint({"state_dict": {}}), "not written by Impasto")


def test_a_checkpoint_with_other_frozen_weights_is_refused(tmp_path):
    checkpoint = write(tmp_path / "a.ckpt", Tinter(source="pretrained"))
    says(lambda: Tinter(source="embedded").on_load_checkpoint(checkpoint), "lens", "pretrained", "embedded")
    says(lambda: load_checkpoint(tmp_path / "a.ckpt"), "lens", "pretrained", "random")


def test_files_that_are_no_checkpoints_of_ours(tmp_path):
    says(lambda: load_checkpoint(tmp_path / "none.ckpt"), "no checkpoint", "none.ckpt")
    (tmp_path / "garbage.ckpt").write_bytes(b"\x89PNG not a checkpoint")
    says(lambda: load_checkpoint(tmp_path / "garbage.ckpt"), "garbage.ckpt", "not a checkpoint that can be read")
    torch.save({"state_dict": {"weight": torch.ones(1)}}, tmp_path / "foreign.ckpt")
    says(lambda: load_checkpoint(tmp_path / "foreign.ckpt"), "foreign.ckpt", "not written by Impasto")
    torch.save(torch.ones(1), tmp_path / "tensor.ckpt")
    says(lambda: load_checkpoint(tmp_path / "tensor.ckpt"), "not written by Impasto")
    torch.save({"hook": print}, tmp_path / "code.ckpt")
    says(lambda: load_checkpoint(tmp_path / "code.ckpt"), "can be read safely")


def test_a_truncated_checkpoint(tmp_path):
    write(tmp_path / "a.ckpt", Tinter())
    whole = (tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(whole[: len(whole) // 2])
    says(lambda: load_checkpoint(tmp_path / "a.ckpt"), "a.ckpt", "not a checkpoint that can be read")


def test_a_checkpoint_without_a_recipe(tmp_path):
    checkpoint = write(tmp_path / "a.ckpt", Tinter())
    checkpoint["impasto"]["recipe"] = None
    torch.save(checkpoint, tmp_path / "a.ckpt")
    says(lambda: load_checkpoint(tmp_path / "a.ckpt"), "a.ckpt", "how its model was configured")


def test_recipes_that_name_nothing():
    assert isinstance(build(recipe()), Tinter)
    says(lambda: build({"class_path": "lightning_modules.nowhere.Nothing"}), "cannot be configured")
    says(lambda: build({"class_path": "lightning_modules.classifiers.artist.ArtistClassification"}), "stylises nothing")
    says(lambda: build(recipe(wdith=3)), "cannot be configured", "wdith")


def test_jobs_are_validated_without_a_style_picture():
    content, mask = pictures(), half_masks()
    numbers = torch.arange(2)
    job = JobBatch(content, mask, ["cubism", "wool"], numbers, numbers, ["sky", "sea"], truth=content, true_mask=mask)
    module = Local()
    output = module.validation_step(job, 0)
    assert output.keys() == {"stylized", "artist", "prompt", "index", "content", "truth", "mask", "true_mask"}
    assert torch.equal(output["stylized"][..., 12:], content[..., 12:])
    assert output["prompt"] == ["cubism", "wool"]
    assert module.mask is not None
    says(lambda: Local(validate_with="image").validation_step(job, 0), "needs a image to validate")
