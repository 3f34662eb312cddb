"""The contract of style transfer: content in, stylised content of the same size out."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, cast, final

import torch
from torch import Tensor

from lightning_modules.conditions import (
    as_masks,
    as_prompts,
    as_styles,
    check_conditions,
    check_images,
    pad,
    words,
)
from lightning_modules.controls import STRENGTH, Control, Value, preset, resolve_controls
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import Experiment
from lightning_modules.portable import Graph, refuse
from lightning_modules.types import Condition, JobBatch, Manner, StyleBatch, Stylization, Watcher


class StyleTransferModule(Experiment, ABC):
    """Base of the methods that restyle a picture: one way to stylize, one way to validate.

    A subclass implements `training_step`, `configure_optimizers` and `_render`, and sets `conditions`.

    Args:
        clip: See `ManualOptimization`.
        accumulate: See `ManualOptimization`.
        validate_with: The style that `validation_step` passes to `stylize`, beside all that the method requires; None
            takes text where the method does, else a picture.
        controls: Values of some of what `stylize` takes as controls, for validation and for whoever gives no others.

    Attributes:
        conditions: What `stylize` takes.
        requires: What it cannot do without; of ``image`` and ``text`` one is needed anyway.
        controls: What a user may set beside that; every method also has `STRENGTH`.
        offered: All controls, with the defaults that the constructor was given.
        optimises: Whether `_render` computes gradients, as a method does that fits a network to each picture.
        stride: Side lengths inside the network are multiples of this, in pixels.
        loss_parts: Names of trained parts that only losses look through: a painter that ships goes without.
        tiles: Whether it paints large pictures in tiles.
        tile: Side of these tiles, in pixels; 0 paints any picture whole, None chooses by the memory that is free.
        on_iteration: Called by a method that optimises with the iteration, their number, and the unweighted terms
            ``(B,)`` of what is being fitted; None where nobody wants to know.

    Raises:
        ImpastoError: If ``validate_with`` is not a style that the method takes, or a control does not fit.
    """

    conditions: ClassVar[frozenset[Condition]]
    requires: ClassVar[frozenset[Condition]] = frozenset()
    controls: ClassVar[tuple[Control, ...]] = ()
    optimises: ClassVar[bool] = False
    stride: ClassVar[int] = 16
    loss_parts: ClassVar[tuple[str, ...]] = ()
    tiles: ClassVar[bool] = False

    def __init__(
        self,
        *,
        clip: float | None = None,
        accumulate: int = 1,
        validate_with: Condition | None = None,
        controls: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate)
        self.offered = self.offers(controls)
        self.tile: int | None = None
        self.on_iteration: Watcher | None = None
        styles = self.conditions - {"region"}
        validate_with = validate_with or max(styles)  # "text" comes after "image"
        if validate_with not in styles:
            raise ImpastoError(f"{type(self).__name__} cannot validate with {validate_with}: choose {words(styles)}.")
        self.validate_with: Condition = validate_with

    # ------------------------------------------------------------------ inference

    @classmethod
    def offers(cls, given: Mapping[str, Value] | None = None) -> tuple[Control, ...]:
        """Return all controls, with other defaults where they are given.

        Raises:
            ImpastoError: If one does not fit.
        """
        return preset((STRENGTH, *cls.controls), given, cls.__name__)

    @final
    def stylize(
        self,
        content: Tensor,
        *,
        style: Tensor | None = None,
        prompt: str | Sequence[str] | None = None,
        mask: Tensor | None = None,
        alpha: float | None = None,
        controls: Mapping[str, Value] | None = None,
    ) -> Tensor:
        """Paint ``content`` in the manner of a style image or a text prompt.

        Args:
            content: ``(B, 3, H, W)``, RGB in [0, 1], any H and W.
            style: ``(B, 3, h, w)`` or ``(1, 3, h, w)``, RGB in [0, 1].
            prompt: One prompt for all samples, or one per sample.
            mask: ``(B, 1, H, W)`` or ``(1, 1, H, W)``, bool or float in [0, 1]: where to paint. Where it is 0 the
                content comes back bit for bit.
            alpha: Strength: 0 leaves the content's own look, 1 is the trained strength, above 1 exaggerates. It is
                one of the controls, too.
            controls: Values of some of the controls that are `offered`, by name.

        Returns:
            ``(B, 3, H, W)``, float32, RGB in [0, 1], the size of ``content``, without a gradient.

        Raises:
            ImpastoError: If a condition is missing, not one the method takes, or of the wrong shape, type or range.
        """
        check_images(content, "content")
        given = {"image": style, "text": prompt, "region": mask}
        present: frozenset[Any] = frozenset(name for name, value in given.items() if value is not None)
        check_conditions(type(self).__name__, self.conditions, self.requires, present)
        values = dict(controls or {}) | ({} if alpha is None else {STRENGTH.name: alpha})
        settled: dict[str, Any] = dict(resolve_controls(self.offered, values, type(self).__name__))
        with self._gradients():
            # What was made in inference mode cannot be differentiated, not even as a constant: hence the copies.
            content = _ordinary(content)
            masks = None if mask is None else as_masks(_ordinary(mask), content)
            manner = Manner(
                style=None if style is None else as_styles(_ordinary(style), content),
                prompt=None if prompt is None else as_prompts(prompt, len(content)),
                mask=None if masks is None else pad(masks, self.stride),
                alpha=settled.pop(STRENGTH.name),
                controls=settled,
            )
            painted = self._render(pad(content, self.stride), manner).detach()
        height, width = content.shape[-2:]
        stylized = painted[..., :height, :width].float().clamp(0, 1)
        return stylized if masks is None else torch.where(masks > 0, stylized, content.float())

    @abstractmethod
    def _render(self, content: Tensor, manner: Manner) -> Tensor:
        """Stylize checked input.

        Args:
            content: ``(B, 3, H, W)``, RGB in [0, 1]; its sides are multiples of ``stride``.
            manner: How; with nothing in it that the method does not take.

        Returns:
            ``(B, 3, H, W)``; may leave [0, 1].
        """

    def portable(
        self,
        by: Condition,  # noqa: ARG002 - who has a graph needs them
        controls: Mapping[str, Value] | None = None,  # noqa: ARG002
        prompts: Sequence[str] = (),  # noqa: ARG002
    ) -> Graph:
        """Return this method as a network of tensors alone, for one content at a time.

        Args:
            by: What it is told a style by, ``image`` or ``text``.
            controls: Values of some of the controls, fixed ones and defaults.
            prompts: Names that a graph by ``text`` shall know.

        Raises:
            ImpastoError: If this method has no such graph, or a control does not fit.
        """
        raise refuse(type(self).__name__, optimises=self.optimises)

    @contextmanager
    def _gradients(self) -> Iterator[None]:
        """Settle gradients, wherever `stylize` is called: Trainer evaluates in inference mode."""
        if not self.optimises:
            with torch.no_grad():
                yield
            return
        with torch.inference_mode(mode=False), torch.enable_grad():
            yield

    # ------------------------------------------------------------------ validation

    @final
    def validation_step(self, batch: StyleBatch | JobBatch, batch_idx: int) -> Stylization:  # noqa: ARG002
        """Stylize the batch; callbacks make metrics and pictures of the result.

        Raises:
            ImpastoError: If the data does not bring a condition that the method requires.
        """
        output = Stylization(
            stylized=self.stylize(batch.content, **self._conditions_of(batch)),
            artist=batch.artist,
            prompt=batch.prompt,
            index=batch.index,
            content=batch.content,
        )
        more = {name: getattr(batch, name, None) for name in ("style", "truth", "mask", "true_mask")}
        return cast(Stylization, output | {name: value for name, value in more.items() if value is not None})

    def _conditions_of(self, batch: StyleBatch | JobBatch) -> dict[str, Any]:
        """Return what `stylize` gets of a batch: the chosen style, what is required, and a region where it is taken."""
        wanted = {self.validate_with, *self.requires}
        if batch.mask is not None and "region" in self.conditions:
            wanted.add("region")
        there: dict[Condition, tuple[str, Any]] = {
            "image": ("style", batch.style),
            "text": ("prompt", batch.prompt),
            "region": ("mask", batch.mask),
        }
        missing = [name for name in sorted(wanted) if there[name][1] is None]
        if missing:
            raise ImpastoError(f"{type(self).__name__} needs a {missing[0]} to validate, and the data brings none.")
        return dict(there[name] for name in sorted(wanted))

    @final
    def test_step(self, batch: StyleBatch | JobBatch, batch_idx: int) -> Stylization:
        """Do on the test split what `validation_step` does on its own."""
        return self.validation_step(batch, batch_idx)

    @final
    def predict_step(self, batch: StyleBatch | JobBatch, batch_idx: int) -> Stylization:
        """Return the stylised batch."""
        return self.validation_step(batch, batch_idx)


def _ordinary(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.is_inference() and not torch.is_inference_mode_enabled() else tensor
