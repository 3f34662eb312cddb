"""AdaIN: content features take on the statistics of the style's, and a decoder paints what has them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from lightning_modules.adain.networks import DEEPEST, Transform
from lightning_modules.adain.settings import LossWeights
from lightning_modules.controls import Value
from lightning_modules.internal_external.painting import AttentionPainter
from lightning_modules.losses.style import style_loss
from lightning_modules.networks.attention_generator import Generator
from lightning_modules.optim.schedule import scheduled
from lightning_modules.types import StyleBatch
from lightning_modules.weights import WeightsSource, load_vgg, need_vgg, resolve

LAYERS = ("relu1_1", "relu2_1", "relu3_1", DEEPEST)


class AdaIN(AttentionPainter):
    """Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (ICCV 2017).

    Args:
        optimizer: Of the decoder.
        scheduler: Its learning-rate schedule, stepped every iteration.
        weights: Of the frozen encoder.
        skips: See `Decoder`; none in the paper.
        loss: Weight of each term.
        clip: See `StyleTransferModule`.
        accumulate: See `StyleTransferModule`.
        controls: See `StyleTransferModule`.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        *,
        weights: WeightsSource = "auto",
        skips: int = 0,
        loss: LossWeights = LossWeights(),
        clip: float | None = None,
        accumulate: int = 1,
        controls: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate, validate_with="image", controls=controls)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.loss = loss
        source = self.settled["weights"] = resolve(weights, need_vgg("vgg19_normalised"))
        self.encoder = load_vgg(source, variant="vgg19_normalised")
        self.encoder.trunk.fold_colour()
        self.generator = Generator(Transform(), [self.encoder.channels[name] for name in LAYERS], skips=skips)

    def configure_optimizers(self) -> list[Any]:
        """One optimiser for the decoder."""
        return scheduled([self.make_optimizer(self.generator.parameters())], self.make_scheduler)

    def training_step(self, batch: StyleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Paint a batch of contents, each in its style, and compare the features of the result with what was wanted."""
        with self.optimizing(self._optimizers()[0]) as backward:
            terms = self.terms(batch)
            total = torch.stack([weight * terms[name] for name, weight in asdict(self.loss).items()]).sum()
            backward(total)
        self.log_terms({**terms, "total": total})

    def terms(self, batch: StyleBatch) -> dict[str, Tensor]:
        """Return the unweighted terms of eq. 11 by name.

        The content's term compares relu4_1 of the picture with what the decoder was given (eq. 12), not with the
        content's.
        """
        generator = self.generator
        with torch.no_grad():
            content = self.encoder(batch.content, generator.content_layers)
            style = self.encoder(batch.style, LAYERS)
            keys = generator.style_keys(style)
            goal = generator.transform(content, (), keys.levels)
        skips = generator.decoder.styled_skips(content, keys.statistics)
        painted = self.encoder(generator.decode([goal, *skips], None), LAYERS)
        return {"content": F.mse_loss(painted[DEEPEST], goal), "style": style_loss(painted, style)}
