"""What NSYNC draws is what diffusers' own pipelines draw with the files that it wrote."""

import copy

import pytest
import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.nsync.settings import LoRASettings
from lightning_modules.weights import pipeline_of

PROMPTS = ["a photo of the sea in the style of <mine>", "<mine> apples on a table"]
CONTROLS = {"steps": 3, "guidance": 4.0, "negative_prompt": "a plain photo"}


def seeded():
    return [torch.Generator().manual_seed(number) for number in (7, 8)]


def shuffled(module):
    generator = torch.Generator().manual_seed(5)
    for weight in module.adapter.weights:
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    return module


def stock(parts, module, sampler="ddim"):
    """Return a fresh stock pipeline that has loaded what the module learnt."""
    pipeline = pipeline_of(copy.deepcopy(parts), sampler)
    for name, state in module.adapter_state().items():
        if name in state:
            pipeline.load_textual_inversion(state)
        else:
            pipeline.load_lora_weights(state)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def asked(prompts):
    return {
        "prompt": prompts,
        "negative_prompt": [CONTROLS["negative_prompt"]] * len(prompts),
        "num_inference_steps": CONTROLS["steps"],
        "guidance_scale": CONTROLS["guidance"],
        "generator": seeded(),
        "output_type": "pt",
    }


@pytest.mark.parametrize("sampler", ["ddim", "pndm"])
@pytest.mark.parametrize("vectors", [1, 2])
def test_rows_draw_what_the_stock_pipeline_does(nsync, parts, sampler, vectors):
    module = shuffled(nsync(vectors=vectors))
    ours = module.generate(PROMPTS, size=(32, 40), seed=7, controls=CONTROLS | {"sampler": sampler})
    theirs = stock(parts, module, sampler)(**asked(PROMPTS), height=32, width=40).images
    assert torch.equal(ours, theirs)
    plain = nsync(vectors=vectors).generate(PROMPTS, size=(32, 40), seed=7, controls=CONTROLS | {"sampler": sampler})
    assert (ours - plain).abs().max() > 1e-3  # and the rows count


@pytest.mark.parametrize("alpha", [0.0, 8.0])
def test_low_rank_matrices_draw_what_the_stock_pipeline_does(nsync, parts, alpha):
    module = shuffled(nsync(adapter="lora", lora=LoRASettings(rank=2, alpha=alpha)))
    ours = module.generate(PROMPTS, size=32, seed=7, controls=CONTROLS)
    theirs = stock(parts, module)(**asked(PROMPTS), height=32, width=32).images
    assert torch.allclose(ours, theirs, atol=1e-5)
    plain = nsync(adapter="lora").generate(PROMPTS, size=32, seed=7, controls=CONTROLS)
    assert (ours - plain).abs().max() > 1e-3


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_a_picture_to_start_from_goes_the_stock_way_too(nsync, parts, strength):
    from diffusers import StableDiffusionImg2ImgPipeline

    module = shuffled(nsync())
    content = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    ours = module.generate(PROMPTS, size=32, seed=7, content=content, strength=strength, controls=CONTROLS)
    pipeline = StableDiffusionImg2ImgPipeline(**stock(parts, module).components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(**asked(PROMPTS), image=content, strength=strength).images
    assert torch.equal(ours, theirs)
    assert torch.equal(
        module.generate(PROMPTS, size=32, seed=7, content=content, strength=0.2, controls=CONTROLS), content
    )


def test_two_styles_are_two_files_that_one_stock_pipeline_loads(nsync, parts):
    module = shuffled(nsync("<mine>", "<yours>", vectors=2))
    state = module.adapter_state()
    assert {name: list(tensors) for name, tensors in state.items()} == {"<mine>": ["<mine>"], "<yours>": ["<yours>"]}
    prompts = ["a sea in the style of <mine>", "a sea in the style of <yours>"]
    ours = module.generate(prompts, size=32, seed=7, controls=CONTROLS)
    assert torch.equal(ours, stock(parts, module)(**asked(prompts), height=32, width=32).images)


def test_a_prompt_without_a_style_is_drawn_in_the_only_one(nsync):
    module = shuffled(nsync())
    named, unnamed = (
        module.generate(text, size=32, seed=7, controls=CONTROLS) for text in ("a sea in the style of <mine>", "a sea")
    )
    assert torch.equal(named, unnamed)
    with pytest.raises(ImpastoError, match="names no style"):
        nsync("<mine>", "<yours>").generate("a sea", size=32, seed=7)


def test_controls_have_defaults_that_a_profile_sets(nsync):
    module = nsync(controls={"steps": 2, "guidance": 1.0})
    assert torch.equal(
        module.generate("a sea", size=32, seed=1),
        module.generate("a sea", size=32, seed=1, controls={"steps": 2, "guidance": 1}),
    )
    assert not torch.equal(
        module.generate("a sea", size=32, seed=1), module.generate("a sea", size=32, seed=1, controls={"steps": 3})
    )
    with pytest.raises(ImpastoError, match="sampler takes ddim or pndm"):
        module.generate("a sea", size=32, seed=1, controls={"sampler": "euler"})


@pytest.mark.parametrize(("sampler", "count"), [("ddim", 3), ("pndm", 4)])  # pndm looks at its second step twice
def test_every_step_of_the_sampler_is_told_and_changes_nothing(nsync, sampler, count):
    module, told = shuffled(nsync()), []
    controls = CONTROLS | {"sampler": sampler}
    unheard = module.generate(PROMPTS, size=32, seed=7, controls=controls)
    module.on_iteration = lambda step, steps, terms: told.append((step, steps, terms))
    assert torch.equal(module.generate(PROMPTS, size=32, seed=7, controls=controls), unheard)
    assert told == [(step, count, {}) for step in range(count)]


def test_a_picture_that_is_redrawn_tells_only_the_steps_that_are_left(nsync):
    module, told = shuffled(nsync()), []
    module.on_iteration = lambda step, steps, _terms: told.append((step, steps))
    content = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    module.generate(PROMPTS, size=32, seed=7, content=content, strength=0.7, controls=CONTROLS)
    assert told == [(0, 2), (1, 2)]
