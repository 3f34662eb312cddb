"""Gatys et al.: the pixels themselves are fitted, to a content's features and to a style's Gram matrices."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightning_modules.base import StyleTransferModule
from lightning_modules.controls import Control, Value
from lightning_modules.errors import ImpastoError
from lightning_modules.gatys.losses import gram_matrix, share_of_energy, style_term
from lightning_modules.gatys.settings import LossWeights
from lightning_modules.types import Condition, Manner
from lightning_modules.weights import WeightsSource, load_vgg, need_vgg, resolve

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
LEAST_SIDE = 16  # pixels that relu5_1 needs


class Gatys(StyleTransferModule):
    """Image Style Transfer Using Convolutional Neural Networks (CVPR 2016).

    There is nothing to train: L-BFGS fits the pixels of every picture. A fit under a Trainer is a validation.

    Args:
        weights: Of the frozen encoder.
        content_layer: Where structure is compared.
        style_layers: Where Gram matrices are.
        loss: Weight of each term.
        begin: What the pixels are at first: the ``content``, or ``noise``.
        controls: See `StyleTransferModule`.

    Raises:
        ImpastoError: If the encoder has no such layer.
    """

    conditions: ClassVar[frozenset[Condition]] = frozenset({"image"})
    controls: ClassVar[tuple[Control, ...]] = (
        Control("iterations", 500, "Iterations of L-BFGS for every picture.", low=1),
    )
    trains: ClassVar[bool] = False
    optimises: ClassVar[bool] = True

    def __init__(
        self,
        *,
        weights: WeightsSource = "auto",
        content_layer: str = "relu4_2",
        style_layers: Sequence[str] = LAYERS,
        loss: LossWeights = LossWeights(),
        begin: Literal["content", "noise"] = "content",
        controls: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(validate_with="image", controls=controls)
        self.loss = loss
        self.begin = begin
        self.content_layer = content_layer
        self.style_layers = tuple(style_layers)
        source = self.settled["weights"] = resolve(weights, need_vgg())
        self.encoder = load_vgg(source)
        if unknown := {content_layer, *style_layers} - self.encoder.channels.keys():
            raise ImpastoError(f"The encoder has no layer {min(unknown)}; it has {', '.join(self.encoder.channels)}.")

    def configure_optimizers(self) -> None:
        """Nothing: every picture has an optimiser of its own."""

    def training_step(self, *_: Any) -> None:
        """Do nothing: an epoch is the validation at its end."""

    def _render(self, content: Tensor, manner: Manner) -> Tensor:
        style = manner.style
        assert style is not None  # noqa: S101 - checked by the base class
        pairs = zip(content, style.expand(len(content), -1, -1, -1), strict=True)
        return torch.stack([self._fit(*pair, manner.alpha, manner.controls) for pair in pairs])

    def _fit(self, content: Tensor, style: Tensor, strength: float, controls: Mapping[str, Any]) -> Tensor:
        """Return a picture ``(3, H, W)`` fitted to a content and a style of any size."""
        wanted, grams = self._targets(content, style)
        pixels = (torch.rand_like(content) if self.begin == "noise" else content.clone()).requires_grad_()
        iterations, done = int(controls["iterations"]), 0
        optimizer = torch.optim.LBFGS([pixels], max_iter=iterations, tolerance_grad=0, tolerance_change=0)

        def closure() -> Tensor:
            nonlocal done
            optimizer.zero_grad()
            terms = self.terms(pixels, wanted, grams)
            total = self.loss.content * terms["content"] + strength * self.loss.style * terms["style"]
            total.backward()
            self._report(done, iterations, terms)
            done += 1
            return total

        optimizer.step(closure)
        return pixels.detach()

    def _report(self, done: int, iterations: int, terms: Mapping[str, Tensor]) -> None:
        if self.on_iteration is not None:
            at = min(done, iterations - 1)  # a line search may look at more pictures than there are iterations
            self.on_iteration(at, iterations, {name: term.detach()[None] for name, term in terms.items()})

    def terms(self, pixels: Tensor, wanted: Tensor, grams: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the unweighted terms of eq. 7 by name.

        Args:
            pixels: ``(3, H, W)``, RGB, about [0, 1].
            wanted: The content's map at ``content_layer``, ``(C, h, w)``.
            grams: The style's Gram matrices by layer.
        """
        maps = self._encode(pixels, (*self.style_layers, self.content_layer))
        return {"content": share_of_energy(maps[self.content_layer], wanted), "style": style_term(maps, grams)}

    @torch.no_grad()
    def _targets(self, content: Tensor, style: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        wanted = self._encode(content, [self.content_layer])[self.content_layer]
        if min(style.shape[-2:]) < LEAST_SIDE:
            style = torch.nn.functional.interpolate(style[None], (LEAST_SIDE, LEAST_SIDE), mode="bilinear")[0]
        return wanted, {name: gram_matrix(maps) for name, maps in self._encode(style, self.style_layers).items()}

    def _encode(self, picture: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        maps = self.encoder(picture[None], tuple(dict.fromkeys(layers)))
        return {name: map_[0] for name, map_ in maps.items()}
