"""The contract of generation: prompts in, pictures out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from lightning_modules.conditions import check_images
from lightning_modules.controls import Control, Value, preset, resolve_controls
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import Experiment
from lightning_modules.types import LabelledBatch, Stylization, Watcher

VALIDATION_SEED = 0


@dataclass(frozen=True)
class Order:
    """What is to be drawn: checked, one entry a picture.

    Attributes:
        size: Height and width in pixels.
        generators: The random numbers of every picture.
        content: ``(B, 3, H, W)``, RGB in [0, 1], a picture to start from, on the module's device.
        strength: With a content, how much of it is redrawn: 0 nothing, 1 all.
        controls: A value for every inference control that the method declares.
    """

    size: tuple[int, int]
    generators: Sequence[torch.Generator]
    content: Tensor | None = None
    strength: float = 1.0
    controls: Mapping[str, Any] = field(default_factory=dict)


class GenerativeModule(Experiment, ABC):
    """Base of the methods that draw a picture from words: one way to generate, one way to validate.

    A picture depends on its own prompt, seed and size and not on the batch that it is drawn in.

    A subclass implements `training_step`, `configure_optimizers` and `_draw`.

    Args:
        clip: See `ManualOptimization`.
        accumulate: See `ManualOptimization`.
        validate_size: Height and width of the pictures that `validation_step` draws, in pixels.
        controls: Values of some of the method's `controls`, for validation and for whoever gives no others.

    Attributes:
        controls: What a user may set beside prompt, size and seed.
        offered: The same, with the defaults that the constructor was given.
        stride: Side lengths are multiples of this, in pixels.
        on_iteration: Called by a method that draws in steps with the step and their number; None where nobody wants to
            know.

    Raises:
        ImpastoError: If the size or a control does not fit.
    """

    controls: ClassVar[tuple[Control, ...]] = ()
    stride: ClassVar[int] = 8

    def __init__(
        self,
        *,
        clip: float | None = None,
        accumulate: int = 1,
        validate_size: tuple[int, int] = (512, 512),
        controls: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate)
        self.offered = self.offers(controls)
        self.on_iteration: Watcher | None = None
        self.validate_size = self._checked_size(validate_size)

    @classmethod
    def offers(cls, given: Mapping[str, Value] | None = None) -> tuple[Control, ...]:
        """Return all controls, with other defaults where they are given.

        Raises:
            ImpastoError: If one does not fit.
        """
        return preset(cls.controls, given, cls.__name__)

    def adapter_state(self) -> dict[str, dict[str, Tensor]]:
        """Return what a stock pipeline lacks to draw as this method does, style by style; empty where it lacks nothing.

        From a style's placeholder to the tensors of its file: those of ``learned_embeds.safetensors``, which are one,
        ``(V, D)``, of the placeholder's name, or those of ``pytorch_lora_weights.safetensors``.
        """
        return {}

    @final
    @torch.no_grad()
    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        size: int | tuple[int, int],
        seed: int | Sequence[int],
        content: Tensor | None = None,
        strength: float = 1.0,
        controls: Mapping[str, Value] | None = None,
    ) -> Tensor:
        """Draw one picture for every prompt.

        Args:
            prompts: What to draw.
            size: Height and width in pixels, or the side of a square.
            seed: One for each picture; a single number stands for itself and the ones that follow it.
            content: ``(B, 3, H, W)``, RGB in [0, 1], of that size: a picture to start from.
            strength: With a content, how much of it is redrawn: 0 nothing, 1 all.
            controls: Values of some of the method's `controls`, by name.

        Returns:
            ``(B, 3, H, W)``, float32, RGB in [0, 1].

        Raises:
            ImpastoError: If there is no prompt, or size, seeds, content, strength or a control do not fit.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not texts or not all(text.strip() for text in texts):
            raise ImpastoError(f"{type(self).__name__} needs a prompt for every picture.")
        order = Order(
            size=self._checked_size((size, size) if isinstance(size, int) else size),
            generators=self._generators(seed, len(texts)),
            content=None if content is None else content.to(self.device),
            strength=strength,
            controls=resolve_controls(self.offered, controls, type(self).__name__),
        )
        _check_content(order, len(texts))
        return self._draw(texts, order).float().clamp(0, 1)

    @abstractmethod
    def _draw(self, prompts: list[str], order: Order) -> Tensor:
        """Draw checked prompts, ``(B, 3, H, W)`` of ``order.size``; the result may leave [0, 1]."""

    @final
    def validation_step(self, batch: LabelledBatch, batch_idx: int) -> Stylization:  # noqa: ARG002
        """Draw the batch's prompts, every sample with a seed of its own that no training changes.

        What else the batch brings (``content``, ``style``, ``truth``) is handed on to the callbacks.
        """
        output = Stylization(
            stylized=self.validation_pictures(batch.prompt, batch.index.tolist()),
            artist=batch.artist,
            prompt=batch.prompt,
            index=batch.index,
        )
        for name in ("content", "style", "truth"):
            value = getattr(batch, name, None)
            if value is not None:
                output[name] = value
        return output

    @final
    def validation_pictures(self, prompts: Sequence[str], index: Sequence[int]) -> Tensor:
        """Draw the prompts of samples as a validation does, given their positions in their split."""
        return self.generate(prompts, size=self.validate_size, seed=[VALIDATION_SEED + number for number in index])

    @final
    def test_step(self, batch: LabelledBatch, batch_idx: int) -> Stylization:
        """Do on the test split what `validation_step` does on its own."""
        return self.validation_step(batch, batch_idx)

    @final
    def predict_step(self, batch: LabelledBatch, batch_idx: int) -> Stylization:
        """Return the drawn batch."""
        return self.validation_step(batch, batch_idx)

    def _checked_size(self, size: tuple[int, int]) -> tuple[int, int]:
        if min(size) < self.stride or any(side % self.stride for side in size):
            raise ImpastoError(
                f"{type(self).__name__} draws pictures of sides that are multiples of {self.stride} pixels, "
                f"not {size[1]} x {size[0]}."
            )
        return size

    def _generators(self, seed: int | Sequence[int], count: int) -> list[torch.Generator]:
        seeds = [seed + number for number in range(count)] if isinstance(seed, int) else list(seed)
        if len(seeds) != count:
            raise ImpastoError(f"{len(seeds)} seeds were given for {count} prompts.")
        # On the CPU: a seed means the same picture on every device.
        return [torch.Generator().manual_seed(number) for number in seeds]


def _check_content(order: Order, count: int) -> None:
    if not 0 <= order.strength <= 1:
        raise ImpastoError(f"The strength must lie in [0, 1], got {order.strength:g}.")
    if order.content is None:
        return
    check_images(order.content, "content")
    if len(order.content) != count:
        raise ImpastoError(f"{len(order.content)} content images were given for {count} prompts.")
    if tuple(order.content.shape[-2:]) != tuple(order.size):
        height, width = order.content.shape[-2:]
        raise ImpastoError(
            f"The content has {width} x {height} pixels, not the {order.size[1]} x {order.size[0]} asked for."
        )
