from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from callbacks.adapter_card import write_card
from callbacks.adapter_files import AdapterFiles, write_adapter
from callbacks.best_checkpoint import BestCheckpoint
from callbacks.last_checkpoint import LastCheckpoint
from callbacks.weight_average import WeightAverage
from experiments.runs.table import RunTable
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import Experiment


def fit(quiet_trainer, folder, module, loader, *callbacks, steps=3):
    logger = RunTable(folder, name="dreamer", version="a")
    trainer = quiet_trainer(
        logger=logger,
        enable_checkpointing=True,
        callbacks=list(callbacks),
        max_steps=steps,
        max_epochs=-1,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    trainer.fit(module, loader, loader)
    return folder / "dreamer/a/checkpoints"


def test_every_checkpoint_has_its_files_beside_it(dreaming, quiet_trainer, tmp_path):
    module = dreaming.Dreamer(rows=2)
    checkpoints = fit(
        quiet_trainer, tmp_path, module, dreaming.loader(),
        AdapterFiles(), LastCheckpoint(), BestCheckpoint("train/total", otherwise="train/total"),
    )  # fmt: skip
    for name in ("last", "best"):
        assert {path.name for path in (checkpoints / name).iterdir()} == {"learned_embeds.safetensors", "README.md"}
        saved = torch.load(checkpoints / f"{name}.ckpt", weights_only=True)["state_dict"]
        with safe_open(checkpoints / name / "learned_embeds.safetensors", "pt") as file:
            assert list(file.keys()) == ["<ada-stipple>"]
            assert file.metadata() == {"format": "pt"}
            assert torch.equal(file.get_tensor("<ada-stipple>"), saved["light"])
    last, best = (load_file(checkpoints / name / "learned_embeds.safetensors") for name in ("last", "best"))
    assert not torch.equal(last["<ada-stipple>"], best["<ada-stipple>"])


@pytest.mark.parametrize("average_first", [True, False])
def test_the_files_hold_the_average_where_the_checkpoint_does(dreaming, quiet_trainer, tmp_path, average_first):
    module = dreaming.Dreamer()
    callbacks = [AdapterFiles(), WeightAverage(0.9)][:: -1 if average_first else 1]
    trained = []

    class Keep(LastCheckpoint):
        def on_train_batch_end(self, trainer, pl_module, *args):
            trained.append(pl_module.light.detach().clone())
            super().on_train_batch_end(trainer, pl_module, *args)
            assert torch.equal(pl_module.light, trained[-1])  # the training goes on from its own bits

    checkpoints = fit(
        quiet_trainer, tmp_path, module, dreaming.loader(), *callbacks, Keep(every_n_iterations=2), steps=2
    )
    saved = torch.load(checkpoints / "last.ckpt", weights_only=True)
    written = load_file(checkpoints / "last/learned_embeds.safetensors")["<ada-stipple>"]
    assert torch.equal(written, saved["state_dict"]["light"])
    assert not torch.equal(written, trained[-1])


def test_several_styles_have_a_file_each(dreaming, quiet_trainer, tmp_path):
    module = dreaming.Dreamer(styles=("<ada-stipple>", "<Monet>"))
    checkpoints = fit(quiet_trainer, tmp_path, module, dreaming.loader(), AdapterFiles(), LastCheckpoint())
    names = {path.name for path in (checkpoints / "last").iterdir()}
    assert names == {"learned_embeds-ada-stipple.safetensors", "learned_embeds-monet.safetensors", "README.md"}
    assert list(load_file(checkpoints / "last/learned_embeds-monet.safetensors")) == ["<Monet>"]


def test_the_card_says_what_it_is(dreaming, quiet_trainer, tmp_path):
    checkpoints = fit(
        quiet_trainer, tmp_path, dreaming.Dreamer(rows=2), dreaming.loader(), AdapterFiles(), LastCheckpoint()
    )
    card = (checkpoints / "last/README.md").read_text()
    for words in (
        "# `<ada-stipple>`",
        "by Dreamer in 3 iterations",
        "| `<ada-stipple>` | 2 x 3, 6 numbers |",
        "| variant | CTOA |",
    ):
        assert words in card
    assert "some/model" not in card  # random weights are nobody's
    data = SimpleNamespace(artists=["Ada", "Bo"], style=SimpleNamespace(captions="of friends"))
    card = write_card(dreaming.Dreamer(), data, {}, {"<ada>": "a"}, 1)
    assert "| styles | Ada, Bo |\n| captions | of friends |" in card
    card = (checkpoints / "last/README.md").read_text()
    for words in (
        'load_diffusion("random")',
        "num_inference_steps=7,",
        "guidance_scale=3.5,",
        "height=32,",
        "width=40,",
    ):
        assert words in card


def test_a_card_of_a_published_pipeline_names_it(dreaming, quiet_trainer, tmp_path):
    module = dreaming.Dreamer()
    module.recipe = module.recipe.replace("random", "pretrained")
    checkpoints = fit(quiet_trainer, tmp_path, module, dreaming.loader(), AdapterFiles(), LastCheckpoint())
    card = (checkpoints / "last/README.md").read_text()
    assert card.startswith("---\nbase_model: some/model\n")
    assert 'StableDiffusionPipeline.from_pretrained("some/model", safety_checker=None)' in card
    assert "DDIMScheduler.from_config" in card


def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch):
    state = {"<a>": {"<a>": torch.zeros(1, 3)}}
    write_adapter(state, tmp_path)

    def fail(tensors, path, **_):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("callbacks.adapter_files.save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        write_adapter({"<a>": {"<a>": torch.ones(1, 3)}}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["learned_embeds.safetensors"]
    assert torch.equal(load_file(tmp_path / "learned_embeds.safetensors")["<a>"], torch.zeros(1, 3))


def test_lora_goes_through_diffusers_own_writer(tmp_path):
    pytest.importorskip("diffusers")
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"
    assert write_adapter({"<a>": {f"unet.{name}": torch.ones(4, 8)}}, tmp_path) == {
        "<a>": "pytorch_lora_weights.safetensors"
    }
    assert list(load_file(tmp_path / "pytorch_lora_weights.safetensors")) == [f"unet.{name}"]


def test_a_method_without_an_adapter_is_refused():
    class Other(Experiment):
        pass

    with pytest.raises(ImpastoError, match="Other learns nothing that diffusers reads"):
        AdapterFiles().setup(None, Other(), "fit")
