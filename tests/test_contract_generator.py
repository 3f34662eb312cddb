"""What every method that draws from words promises, asked of every one that has a tiny profile."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.adapter_files import write_adapter
from experiments.cli import FOLDER, execute
from experiments.painting.inference import draw
from experiments.training import main
from lightning_modules.checkpoints import load_generator
from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.weights import load_diffusion, pipeline_of

STEPS = 3
SIDE = 32


@pytest.fixture(scope="module")
def fit(generator, tiny, tmp_path_factory):
    """Return a function that trains a few steps by the command, and returns the run's folder."""
    folder = tmp_path_factory.mktemp("contract")
    steps = ["--trainer.max_steps", str(STEPS), "--wandb", "disabled", "--runs_dir", str(folder / "runs")]

    def call(name, *overlays):
        assert execute(["fit", *tiny(generator, *overlays), *steps, "--run_name", name]) == 0
        return folder / "runs" / generator / name

    return call


@pytest.fixture(scope="module")
def run(fit):
    return fit("a")


@pytest.fixture(scope="module")
def checkpoint(run):
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def module(checkpoint):
    return load_generator(checkpoint)


@pytest.fixture(scope="module")
def prompt(module):
    """Return a prompt that names a style."""
    return f"a pond with a bridge in the style of {next(iter(module.adapter_state()))}"


def generate(module, prompt, seed=0, size=SIDE, **settings):
    return module.generate(prompt, size=size, seed=seed, **settings)


def test_the_method_has_one_name(module, generator):
    assert module.method == generator


@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
def test_pictures_have_the_size_and_the_range(module, prompt, size):
    picture = generate(module, prompt, size=size)
    assert picture.shape == (1, 3, *size)
    assert picture.dtype == torch.float32
    assert torch.isfinite(picture).all()
    assert 0 <= float(picture.min()) < float(picture.max()) <= 1


@pytest.mark.bitwise
def test_a_picture_is_a_function_of_its_seed(module, prompt):
    torch.manual_seed(1)
    one = generate(module, prompt)
    torch.manual_seed(2)
    assert torch.equal(one, generate(module, prompt))
    assert float((one - generate(module, prompt, seed=1)).abs().mean()) > 1e-3


def test_pictures_of_a_batch_do_not_see_each_other(module, prompt):
    other = prompt.replace("pond", "city")
    both = generate(module, [other, prompt], seed=[7, 0])
    assert torch.allclose(both[1:], generate(module, prompt), atol=1e-3)
    assert float((both[:1] - generate(module, prompt, seed=7)).abs().mean()) > 1e-5


def test_drawing_leaves_the_stream_of_random_numbers_alone(module, prompt):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    generate(module, prompt)
    assert torch.equal(torch.get_rng_state(), state)


def test_strength_goes_from_the_content_to_none_of_it(module, prompt):
    content = torch.rand(1, 3, SIDE // 8, SIDE // 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    other = 1 - content
    kept, half = (generate(module, prompt, content=content, strength=strength) for strength in (0.0, 0.5))
    assert float((kept - content).abs().mean()) < 0.1
    assert float((kept - half).abs().mean()) > 1e-3
    redrawn = [generate(module, prompt, content=start, strength=1.0) for start in (content, other)]
    away = float((redrawn[0] - redrawn[1]).abs().mean())
    assert away < 0.3 * float((content - other).abs().mean())  # the last noise level leaves a trace of where it began


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 20}, "multiples of"),
        ({"size": (32, 0)}, "multiples of"),
        ({"strength": 2.0}, "strength must lie in"),
        ({"content": torch.zeros(1, 3, 8, 8)}, "not the 32 x 32 asked for"),
        ({"seed": [1, 2]}, "2 seeds were given for 1 prompts"),
        ({"controls": {"nothing": 1}}, "has no control 'nothing'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(module, prompt, settings, words):
    with pytest.raises(ImpastoError, match=r"^[^\n]+$") as failure:
        generate(module, prompt, **settings)
    assert words in str(failure.value)


def test_every_control_does_something(module, prompt):
    plain = generate(module, prompt)
    for control in module.offered:
        if isinstance(control.default, int | float):
            changed = generate(module, prompt, controls={control.name: control.parse(control.default + 1)})
            assert not torch.equal(changed, plain), control.name


@pytest.mark.bitwise
def test_a_checkpoint_alone_rebuilds_the_module_without_frozen_weights(module, checkpoint, prompt):
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    frozen = [name for name, part in module.named_modules() if isinstance(part, FrozenNetwork)]
    assert frozen
    assert not [key for key in saved if key.startswith(tuple(f"{name}." for name in frozen))]
    again = load_generator(checkpoint)
    assert again.recipe == module.recipe
    assert torch.equal(generate(again, prompt), generate(module, prompt))


def test_what_was_learnt_moved(generator, tiny, module):
    untrained = main(["fit", *tiny(generator), "--trainer.logger", "false"], run=False).model
    before, after = untrained.adapter_state(), module.adapter_state()
    assert before.keys() == after.keys()
    for style, tensors in after.items():
        assert any(not torch.equal(value, before[style][name]) for name, value in tensors.items()), style


def test_the_command_draws_what_the_module_does(module, run, prompt, tmp_path, capsys):
    words = ["stylize", "--checkpoint", str(run), "--device", "cpu", "--prompt", prompt, "--size", str(SIDE)]
    assert execute([*words, "--seed", "5", "--out", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "a.png")
    expected = eight_bits(generate(module, prompt, seed=5)[0])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected)
    Image.fromarray(np.full((30, 45, 3), 90, dtype=np.uint8)).save(tmp_path / "photo.png")
    photo = ["--content", str(tmp_path / "photo.png"), "--strength", "0.6", "--out", str(tmp_path / "b.png")]
    assert execute([*words[:-2], *photo]) == 0
    assert Image.open(tmp_path / "b.png").size == (45, 30)


def test_stock_diffusers_draws_the_same(module, checkpoint, monkeypatch):
    assert apart_from_stock(module, checkpoint.with_suffix(""), monkeypatch) == 0


def test_stock_diffusers_draws_the_same_with_low_rank_matrices(generator, fit, monkeypatch):
    overlay = FOLDER / generator / "lora.yaml"
    if not overlay.is_file():
        pytest.skip("this method has none")
    folder = fit("lora", overlay) / "checkpoints" / "last"
    assert "pytorch_lora_weights.safetensors" in {path.name for path in folder.iterdir()}
    # Two matrices are multiplied in another order there.
    assert apart_from_stock(load_generator(folder.with_suffix(".ckpt")), folder, monkeypatch) <= 1


def test_stock_diffusers_draws_the_same_on_a_pipeline_that_others_published(fit, tmp_path, monkeypatch):
    pipeline_of(load_diffusion("random"), "pndm").save_pretrained(tmp_path / "base")
    overlay = tmp_path / "published.yaml"
    overlay.write_text(f"model: {{init_args: {{weights: pretrained, model: {tmp_path / 'base'}}}}}")
    folder = fit("published", overlay) / "checkpoints" / "last"
    assert "StableDiffusionPipeline.from_pretrained" in (folder / "README.md").read_text()
    assert apart_from_stock(load_generator(folder.with_suffix(".ckpt")), folder, monkeypatch) == 0


def apart_from_stock(module, folder, monkeypatch):
    """Run the program on the model card as it stands there, and return the largest difference of a pixel."""
    card = (folder / "README.md").read_text()
    program = re.search(r"```python\n(.*?)```", card, re.S)[1]
    monkeypatch.chdir(folder)
    names = {}
    exec(program, names)  # noqa: S102 - our own
    prompt = re.search(r'pipeline\(\n    "(.*)",', program)[1]
    ours = eight_bits(module.generate(prompt, size=module.validate_size, seed=0)[0])
    difference = np.abs(np.asarray(names["picture"]).astype(int) - ours).max()
    plain = "\n".join(line for line in program.splitlines() if not line.startswith("pipeline.load_"))
    exec(plain, names)  # noqa: S102
    assert not np.array_equal(np.asarray(names["picture"]), ours)  # what was learnt does something
    Path("drawn.png").unlink()
    return difference


def eight_bits(picture):
    return (picture * 255).round().byte().permute(1, 2, 0).numpy().astype(int)


def test_content_of_any_size_comes_back_in_it(module, prompt):
    content = torch.rand(3, 29, 43)
    assert draw(module, prompt, seeds=[0, 1], content=content, strength=0.5).shape == (2, 3, 29, 43)


def test_files_are_written_again_without_a_checkpoint(module, tmp_path):
    files = write_adapter(module.adapter_state(), tmp_path)
    assert set(files) == set(module.adapter_state())
    assert {path.name for path in tmp_path.iterdir()} == set(files.values())
