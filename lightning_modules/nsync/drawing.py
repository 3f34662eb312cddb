"""Pictures from embeddings of prompts, by diffusers' own pipelines."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from lightning_modules.controls import Control
from lightning_modules.generation import Order
from lightning_modules.types import Watcher
from lightning_modules.weights import LatentDiffusion, pipeline_of

CONTROLS = (
    Control("steps", 50, "Steps of the sampler; more are slower and finer.", low=1, high=1000),
    Control("guidance", 7.5, "How much the prompt counts beyond the rest; 1 is without guidance.", low=0.0, high=50.0),
    Control("negative_prompt", "", "What should not be in the picture."),
    Control("sampler", "ddim", "How noise is taken away.", choices=("ddim", "pndm")),
)

Encode = Callable[[Sequence[str]], Tensor]
"""From prompts to the embeddings that the UNet looks at, ``(B, L, D)``."""


def draw(
    parts: LatentDiffusion, encode: Encode, prompts: Sequence[str], order: Order, watcher: Watcher | None = None
) -> Tensor:
    """Draw pictures, as the stock pipeline does with the same seeds and embeddings.

    Args:
        parts: The pipeline.
        encode: Of prompts.
        prompts: One for each picture.
        order: The rest; with a content, the stock image-to-image pipeline takes its place.
        watcher: Who wants to know how far the sampler is.

    Returns:
        ``(B, 3, H, W)``, RGB in [0, 1].

    Source: NSYNC, section III, inference.
    """
    given = order.controls
    if order.content is not None and int(given["steps"] * order.strength) < 1:
        return order.content  # nothing is redrawn
    settings: dict[str, Any] = {
        "prompt_embeds": encode(prompts),
        "negative_prompt_embeds": encode([given["negative_prompt"]] * len(prompts)),
        "num_inference_steps": given["steps"],
        "guidance_scale": given["guidance"],
        "generator": list(order.generators),
        "output_type": "pt",
        "return_dict": False,
    }
    pipeline: Any = pipeline_of(parts, given["sampler"])
    if order.content is None:
        height, width = order.size
        settings |= {"height": height, "width": width}
    else:
        pipeline = _from_content(pipeline)
        settings |= {"image": order.content, "strength": order.strength}
    pipeline.set_progress_bar_config(disable=True)
    if watcher is not None:
        settings["callback_on_step_end"] = _telling(watcher)
    drawn: Tensor = pipeline(**settings)[0]
    return drawn


def _from_content(pipeline: Any) -> Any:
    from diffusers import StableDiffusionImg2ImgPipeline

    return StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)


def _telling(watcher: Watcher) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return what diffusers calls after every step of its sampler."""

    def tell(pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        watcher(step, pipeline.num_timesteps, {})
        return tensors

    return tell
