"""Captions by a model that sees: any image-to-text model of transformers, by its id or folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image

from datamodules.captions import Captioned
from datamodules.images import read_pixels
from experiments.progress import file_progress
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically
from lightning_modules.networks.diffusion_extra import demand_diffusion

INSTRUCTION = (
    "Describe the visual features of this picture briefly, in at most 25 words, in the form of a prompt for an image "
    "generator."
)
NEW_TOKENS = 128


class Captioner:
    """A vision-language model that is asked for a caption, or a model that only writes captions and is not asked.

    Args:
        model: An id of the hub, whose files are looked for in ``HF_HOME`` and fetched where there is a network, or a
            folder; such as ``OpenGVLab/InternVL3-2B-hf`` or ``Salesforce/blip-image-captioning-large``.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ImpastoError: If it is not to be had, or is no such model.

    Source: NSYNC, section III; giddyyupp/NSYNC @2d20a62 for what InternVL is asked, in other words here.
    """

    def __init__(self, model: str, device: str = "auto") -> None:
        demand_diffusion()
        import transformers

        transformers.utils.logging.disable_progress_bar()
        cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        self._name = model
        self._processor: Any = _read(model, lambda: transformers.AutoProcessor.from_pretrained(model))
        dtype = torch.bfloat16 if cuda else torch.float32
        loaded: Any = _read(model, lambda: transformers.AutoModelForImageTextToText.from_pretrained(model, dtype=dtype))
        self._model = loaded.to("cuda" if cuda else "cpu").eval()

    @torch.no_grad()
    def describe(self, picture: Image.Image) -> str:
        """Return what a picture shows; greedily, so always the same.

        Raises:
            ImpastoError: If nothing is said.
        """
        inputs, asked = self._inputs(picture)
        inputs = inputs.to(self._model.device)
        if "pixel_values" in inputs and inputs["pixel_values"].is_floating_point():
            inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        tokens = self._model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS)
        said = self._processor.batch_decode(tokens[:, asked:], skip_special_tokens=True)[0]
        return " ".join(said.split()).strip("\"' ")

    def _inputs(self, picture: Image.Image) -> tuple[Any, int]:
        """Return what the model is given, and how many tokens of its answer repeat the question."""
        if getattr(self._processor, "chat_template", None):
            content = [{"type": "image", "image": picture}, {"type": "text", "text": INSTRUCTION}]
            inputs = self._processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        elif image := getattr(self._processor, "image_token", None):
            text = f"USER: {image}\n{INSTRUCTION} ASSISTANT:"
            inputs = self._processor(images=picture, text=text, return_tensors="pt")
        else:
            return self._processor(images=picture, return_tensors="pt"), 0
        return inputs, inputs["input_ids"].shape[1]


def caption_missing(pictures: Sequence[Captioned], captioner: Callable[[Image.Image], str]) -> None:
    """Write a caption into a ``.txt`` file beside every picture that has none.

    Args:
        pictures: Of a folder.
        captioner: From a picture to what it shows.

    Raises:
        ImpastoError: If a picture cannot be read, or nothing is said of it.
    """
    silent = [picture for picture in pictures if not picture.caption]
    with file_progress() as bar:
        task = bar.add_task("Describing pictures", total=len(pictures), completed=len(pictures) - len(silent))
        for picture in silent:
            said = captioner(Image.fromarray(read_pixels(picture.path)))
            if not said:
                raise ImpastoError(
                    f"The captioner says nothing of {picture.path}: write a caption into a .txt beside it."
                )
            write_atomically(picture.path.with_suffix(".txt"), said + "\n")
            bar.advance(task)


def _read(name: str, step: Callable[[], Any]) -> Any:
    try:
        return step()
    except Exception as error:  # of ids, networks, files and kinds of models, readers complain in every way there is
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise ImpastoError(
            f"The captioner {name} cannot be loaded ({reason}): run `hf download {name}` where there is a network, or "
            "take an image-to-text model that transformers knows, such as OpenGVLab/InternVL3-2B-hf."
        ) from error
