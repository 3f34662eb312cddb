"""Draw the negatives of a set of captions: what is missing, on one device or spread over several."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from datamodules.learned_styles import Wish
from experiments.negatives.drawer import Drawer, stands
from experiments.negatives.recipe import (
    MANIFEST,
    Drawing,
    Recipe,
    Sampler,
    check_same,
    drawing,
    manifest,
    read_manifest,
)
from experiments.negatives.workers import Pipeline, draw_spread
from experiments.progress import file_progress
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically
from lightning_modules.weights.choice import WeightsSource
from lightning_modules.weights.diffusion import DEFAULT, LatentDiffusion, load_diffusion


class Negatives:
    """Draws negatives by captions, each in the style of a generic word instead of an artist's.

    A picture depends on its caption, its name and the settings alone; every file is written whole or not at all and
    carries its prompt, so that what was interrupted goes on where it was, and a caption that has changed is drawn
    again. ``negatives.json`` holds the settings.

    Args:
        weights: Where the frozen pipeline comes from.
        model: Of ``pretrained``; see `lightning_modules.weights.diffusion.load_diffusion`.
        prompts: What negatives are in the style of: the category of the pictures, such as ``painting``,
            ``illustration`` or ``animation``. Of several, every picture draws one.
        size: Side in pixels at which they are drawn; None takes that which the pipeline was trained on.
        match_resolution: Side in pixels of the positives, to which negatives are shrunk: else sharpness alone would
            tell them apart.
        steps: Of the sampler.
        guidance: Of classifier-free guidance; 1 is none.
        sampler: ``pndm``, which published Stable Diffusions name as their own, or ``ddim``.
        seed: Of all pictures; non-negative.
        batch: Pictures drawn at once.
        devices: Processes, one for each GPU; None takes all GPUs, or one process without any.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ImpastoError: If a setting is out of range.

    Source: NSYNC, sections III and IV-A; its section VI for several prompts; giddyyupp/NSYNC @2d20a62 for the numbers.
    """

    def __init__(
        self,
        weights: WeightsSource = "auto",
        *,
        model: str = DEFAULT,
        prompts: Sequence[str] = ("painting",),
        size: int | None = None,
        match_resolution: int = 256,
        steps: int = 50,
        guidance: float = 7.5,
        sampler: Sampler = "pndm",
        seed: int = 0,
        batch: int = 8,
        devices: int | None = None,
        device: str = "auto",
    ) -> None:
        for name, value, least in (
            ("size", size, 8), ("match_resolution", match_resolution, 8), ("steps", steps, 1), ("seed", seed, 0),
            ("batch", batch, 1), ("devices", devices, 1), ("guidance", guidance, 0),
        ):  # fmt: skip
            if value is not None and value < least:
                raise ImpastoError(f"{name} is {value}, and must be at least {least}.")
        if not prompts or not all(word.strip() for word in prompts):
            raise ImpastoError("Negatives need a word for what they are in the style of, such as painting.")
        self._pipeline = Pipeline(weights, model)
        self._prompts = tuple(word.strip() for word in prompts)
        self._size = size
        self._match_resolution = match_resolution
        self._steps, self._guidance, self._sampler, self._seed = steps, guidance, sampler, seed
        self._batch = batch
        self._places = _places(device, devices)

    def make(self, wishes: Sequence[Wish], folder: Path, *, afresh: bool = False) -> None:
        """Write ``<folder>/<key>.png`` for every wish that is not there yet.

        Args:
            wishes: What to draw.
            folder: Where; made where it is missing.
            afresh: Replace what was drawn with other settings, instead of refusing it.

        Raises:
            ImpastoError: If the folder holds something else, or the pipeline is not to be had.
        """
        parts = load_diffusion(*self._pipeline)
        recipe = self._recipe(parts)
        if afresh and read_manifest(folder) not in (None, manifest(recipe)):
            shutil.rmtree(folder)
        check_same(folder, recipe)
        drawings = [drawing(wish, recipe, parts.tokenizer) for wish in wishes]
        write_atomically(folder / MANIFEST, json.dumps(manifest(recipe), indent=2) + "\n")
        # Always the same groups, whatever is there: what is drawn beside a picture may change its last bits.
        groups = [drawings[first : first + self._batch] for first in range(0, len(drawings), self._batch)]
        done = sum(stands(folder, each) for each in drawings)
        if done < len(drawings):
            self._draw(parts, recipe, groups, folder, done)

    def _recipe(self, parts: LatentDiffusion) -> Recipe:
        size, step = self._size or parts.size, parts.size // parts.unet.config.sample_size
        if size % step:
            raise ImpastoError(f"The pipeline draws sides that are multiples of {step} pixels, not {size}.")
        return Recipe(
            pipeline=parts.signature,
            prompts=self._prompts,
            size=size,
            match_resolution=self._match_resolution,
            steps=self._steps,
            guidance=self._guidance,
            sampler=self._sampler,
            seed=self._seed,
        )

    def _draw(
        self, parts: LatentDiffusion, recipe: Recipe, groups: list[list[Drawing]], folder: Path, done: int
    ) -> None:
        open_groups = [group for group in groups if not all(stands(folder, each) for each in group)]
        with file_progress() as bar:
            task = bar.add_task("Drawing negatives", total=sum(map(len, groups)), completed=done)
            for count in self._written(parts, recipe, open_groups, folder):
                bar.advance(task, count)

    def _written(
        self, parts: LatentDiffusion, recipe: Recipe, groups: list[list[Drawing]], folder: Path
    ) -> Iterator[int]:
        """Yield how many pictures each group brought."""
        if len(self._places) > 1:
            yield from draw_spread(self._pipeline, recipe, groups, folder, self._places)
            return
        drawer = Drawer(parts, recipe, self._places[0])
        for group in groups:
            yield drawer.write(group, folder)


def _places(device: str, count: int | None) -> list[str]:
    """Return the device of every process."""
    gpus = torch.cuda.device_count() if device in {"auto", "cuda"} else 0
    if device == "cuda" and not gpus:
        raise ImpastoError("There is no GPU that CUDA can use: take --device cpu.")
    if not gpus:
        return ["cpu"] * (count or 1)
    if count is not None and count > gpus:
        raise ImpastoError(f"There are {gpus} GPUs, not {count}: take fewer --devices, or --device cpu.")
    return [f"cuda:{number}" for number in range(count or gpus)]
