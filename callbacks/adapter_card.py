"""The model card of an adapter: what it is, what it was made with, and how stock diffusers loads it."""

import json
from collections.abc import Mapping
from typing import Any

import yaml
from torch import Tensor

from lightning_modules.prompts import styled

CALLS = {"steps": "num_inference_steps", "guidance": "guidance_scale", "negative_prompt": "negative_prompt"}
"""From a control's name to an argument of diffusers' pipelines."""
SAMPLERS = {"ddim": "DDIMScheduler", "pndm": "PNDMScheduler"}
SUBJECT = "a pond with a bridge"


def write_card(
    module: Any,
    datamodule: Any,
    adapter: Mapping[str, Mapping[str, Tensor]],
    files: Mapping[str, str],
    iterations: int,
) -> str:
    """Return a model card in Markdown, with the head that hubs read.

    Args:
        module: The method; its ``recipe`` says how it was configured.
        datamodule: What it learnt from; its ``artists``, and of its ``style`` where the ``captions`` come from, go into
            the card, where it has them.
        adapter: As of `lightning_modules.generation.GenerativeModule.adapter_state`.
        files: From style to the name of its file.
        iterations: How long it has learnt.
    """
    settings = (yaml.safe_load(module.recipe or "{}") or {}).get("init_args") or {}
    kind = type(module).__name__
    lines = [
        *_head(settings, kind),
        f"# {' and '.join(f'`{style}`' for style in files)}",
        "",
        f"Learnt by {kind} in {iterations} iterations; prompts name the style, as below.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _facts(module, datamodule, adapter, settings).items()),
        "",
        "```python",
        *_usage(module, adapter, files, settings),
        "```",
        "",
        "`impasto stylize` draws the same with the checkpoint beside this folder, that prompt and `--seed 0`.",
    ]
    return "\n".join(lines) + "\n"


def _head(settings: Mapping[str, Any], kind: str) -> list[str]:
    base = [f"base_model: {settings['model']}"] if _is_published(settings) else []
    return ["---", *base, "library_name: diffusers", "pipeline_tag: text-to-image", f"tags: [{kind}]", "---", ""]


def _facts(
    module: Any, datamodule: Any, adapter: Mapping[str, Mapping[str, Tensor]], settings: Mapping[str, Any]
) -> dict[str, str]:
    facts = {f"`{name}`": source for name, source in module.frozen_sources().items()}
    for style, tensors in adapter.items():
        shapes = [tuple(value.shape) for value in tensors.values()]
        numbers = sum(value.numel() for value in tensors.values())
        size = f"{shapes[0][0]} x {shapes[0][1]}" if style in tensors else f"LoRA of {len(shapes)} matrices"
        facts[f"`{style}`"] = f"{size}, {numbers} numbers"
    artists = getattr(datamodule, "artists", ())
    facts |= {"styles": ", ".join(artists)} if artists else {}
    captions = getattr(getattr(datamodule, "style", None), "captions", None)
    facts |= {"captions": captions} if captions else {}
    plain = {name: value for name, value in settings.items() if isinstance(value, str | int | float) and value != ""}
    if not _is_published(settings):
        plain.pop("model", None)  # nobody asked for it
    return facts | {name.replace("_", " "): str(value) for name, value in plain.items()}


def _usage(
    module: Any,
    adapter: Mapping[str, Mapping[str, Tensor]],
    files: Mapping[str, str],
    settings: Mapping[str, Any],
) -> list[str]:
    """Return the lines of a program that draws one picture with stock diffusers, in the folder of the files."""
    chosen = {control.name: control.default for control in module.offered}
    height, width = module.validate_size
    call = {argument: chosen[name] for name, argument in CALLS.items() if chosen.get(name) not in (None, "")}
    call |= {"height": height, "width": width}
    loads = [
        f"pipeline.load_textual_inversion({json.dumps(files[style])})"
        if style in tensors
        else f'pipeline.load_lora_weights(".", weight_name={json.dumps(files[style])})'
        for style, tensors in adapter.items()
    ]
    prompt = styled(SUBJECT, next(iter(files)))
    return [
        "import torch",
        *_pipeline(settings, str(chosen.get("sampler", next(iter(SAMPLERS))))),
        *loads,
        "picture = pipeline(",
        f"    {json.dumps(prompt)},",
        *(f"    {name}={json.dumps(value)}," for name, value in call.items()),
        "    generator=torch.Generator().manual_seed(0),",
        ").images[0]",
        'picture.save("drawn.png")',
    ]


def _pipeline(settings: Mapping[str, Any], sampler: str) -> list[str]:
    """Return the lines that make the base pipeline; one that no hub has comes from this repo."""
    if not _is_published(settings):
        weights = json.dumps(settings.get("weights", "auto"))
        return [
            "from lightning_modules.weights import load_diffusion, pipeline_of  # of Impasto, whose pipeline it is",
            "",
            f"pipeline = pipeline_of(load_diffusion({weights}), {json.dumps(sampler)})",
        ]
    scheduler = SAMPLERS[sampler]
    return [
        f"from diffusers import {scheduler}, StableDiffusionPipeline",
        "",
        f"pipeline = StableDiffusionPipeline.from_pretrained({json.dumps(settings['model'])}, safety_checker=None)",
        f"pipeline.scheduler = {scheduler}.from_config(pipeline.scheduler.config)",
    ]


def _is_published(settings: Mapping[str, Any]) -> bool:
    return settings.get("weights") == "pretrained" and "model" in settings
