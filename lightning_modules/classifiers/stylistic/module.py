"""StylisticPrediction: trains a small network to tell pictures that are a style from those that only show something."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.classifiers.stylistic.branches import (
    CONTENT,
    STYLE,
    ContentBranch,
    StyleBranch,
    needs_of,
    width_of,
)
from lightning_modules.classifiers.stylistic.features import cached_features
from lightning_modules.classifiers.stylistic.networks import Head
from lightning_modules.experiment import Experiment
from lightning_modules.networks.clip import centre_square
from lightning_modules.optim.schedule import scheduled
from lightning_modules.types import AnnotatedBatch, Judgement, StyleBatch
from lightning_modules.weights import WeightsSource, resolve


class _Seen(NamedTuple):
    """A batch behind the branches, and of every picture label, group, place, and whether it could be read."""

    features: Tensor
    label: Tensor
    group: Tensor
    index: Tensor  # type: ignore[assignment]  # nobody searches it with tuple.index
    known: Tensor


class StylisticPrediction(Experiment):
    """Binary cross entropy of a small MLP on two frozen branches, one that knows content and one that knows style.

    ``p(stylistic) = sigmoid(f(c(x), s(x)) / T + b)``. In training T is 1 and b is 0; a validation sets both
    (`callbacks.stylistic_accuracy.StylisticAccuracy`), for styles that were never trained on are less sure than those
    that were, so that of the pictures that get 0.8 four in five are stylistic where there are as many of either kind.

    Batches bring numbers of pictures, whose features the disk keeps, or pictures: of a `StyleBatch` the styles are
    stylistic and the contents are not.

    Args:
        optimizer: Optimiser of the MLP.
        scheduler: Learning-rate schedule, stepped every iteration.
        content: ``vgg``, ``dinov2s_imgfocus`` or ``vit``.
        style: ``vgg``, ``csd``, ``dinov2s_imgfocus``, ``artist`` or ``aladin``.
        weights: Where the branches' weights come from, as everywhere; of ``dinov2s_imgfocus``, ``vit``, ``artist`` and
            ``aladin`` there is one kind only, beside ``random``.
        side: Pictures are brought to this short side, in pixels, and the square in their middle is looked at.
        hidden: Widths of the MLP's hidden layers.
        dropout: Before each of its layers but the first.
        clip: See `ManualOptimization`.
        accumulate: See `ManualOptimization`.

    Attributes:
        temperature: T, a buffer, part of the checkpoint.
        bias: b, another.

    Raises:
        ImpastoError: If weights are missing.

    Source: Ruta et al. 2024 (NeAT), section 3; Platt 1999 for T and b.
    """

    temperature: Tensor
    bias: Tensor

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        *,
        content: ContentBranch = "vgg",
        style: StyleBranch = "vgg",
        weights: WeightsSource = "auto",
        side: int = 256,
        hidden: Sequence[int] = (256,),
        dropout: float = 0.2,
        clip: float | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.side = side
        needs = needs_of(CONTENT[content], STYLE[style])
        weights = self.settled["weights"] = resolve(weights, *needs) if needs else weights
        self.names = (content, style)
        self.content = CONTENT[content].load(weights)
        self.style = STYLE[style].load(weights)
        self.head = Head([width_of(branch, side) for branch in (self.content, self.style)], hidden, dropout)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))
        self.features = torch.empty(0)  # no buffer: DDP would send it around in every step

    def setup(self, stage: str) -> None:
        """Look at the pictures of the data, or read what an earlier run saw."""
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "hashes"):
            device = self.trainer.strategy.root_device
            parts = [
                cached_features(name, branch, data, self.side, device)
                for name, branch in zip(self.names, (self.content, self.style), strict=True)
            ]
            self.features = torch.cat(parts, dim=1).to(device)

    def configure_optimizers(self) -> list[Any]:
        """One optimiser; weight decay spares biases."""
        groups = [
            {"params": [p for p in self.head.parameters() if p.ndim > 1]},
            {"params": [p for p in self.head.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        return scheduled([self.make_optimizer(groups)], self.make_scheduler)

    def forward(self, images: Tensor) -> Tensor:
        """Return how likely each picture is stylistic, ``(B,)`` in [0, 1], of ``(B, 3, H, W)`` in [0, 1], any size."""
        return self.probabilities(self.head(self.look(images)))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return how likely it is that pictures are stylistic, of logits as steps give them."""
        return torch.sigmoid(logits / self.temperature + self.bias)

    def calibrate(self, temperature: float, bias: float) -> None:
        """Set T and b."""
        self.temperature.fill_(temperature)
        self.bias.fill_(bias)

    @torch.no_grad()
    def look(self, images: Tensor) -> Tensor:
        """Return what both branches see, ``(B, D)``, of ``(B, 3, H, W)``, RGB in [0, 1], any size."""
        squares = centre_square(images, self.side).clamp(0, 1)
        return torch.cat((self.content(squares), self.style(squares)), dim=1)

    def training_step(self, batch: AnnotatedBatch | StyleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Learn from one batch; a picture that cannot be read counts nothing."""
        judged = self._judge(batch)
        with self.optimizing(self._optimizers()[0]) as backward:
            logits = self.head(judged.features)
            known = judged.known
            losses = F.binary_cross_entropy_with_logits(logits, judged.label, reduction="none")
            loss = losses.mul(known).sum() / known.sum().clamp_min(1)
            backward(loss)
        right = ((logits > 0) == (judged.label > 0.5)).to(loss)
        self.log_terms({"total": loss, "accuracy": right.mul(known).sum() / known.sum().clamp_min(1)})

    def validation_step(self, batch: AnnotatedBatch | StyleBatch, batch_idx: int) -> Judgement:  # noqa: ARG002
        """Return what is thought of a batch, before T and b; callbacks make metrics of it."""
        judged = self._judge(batch)
        logits = torch.where(judged.known > 0, self.head(judged.features), torch.nan)
        return Judgement(logits=logits, label=judged.label, group=judged.group, index=judged.index)

    def test_step(self, batch: AnnotatedBatch | StyleBatch, batch_idx: int) -> Judgement:
        """Do on the test split what `validation_step` does on its own."""
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: AnnotatedBatch, batch_idx: int) -> Judgement:
        """Do the same on pictures that nobody has annotated."""
        return self.validation_step(batch, batch_idx)

    def _judge(self, batch: AnnotatedBatch | StyleBatch) -> _Seen:
        if isinstance(batch, AnnotatedBatch):
            features = self.features[batch.picture]
            known = features.isfinite().all(1).to(features)
            label = batch.label.to(features)
            middle = features.nanmean(0).nan_to_num()  # in the place of what is unknown; leaves the batch norm's mean
            features = torch.where(known[:, None] > 0, features, middle)
            return _Seen(features, label, batch.artist, batch.index, known)
        features = self.look(torch.cat((batch.style, batch.content)))
        label = torch.cat((torch.ones_like(batch.artist), torch.zeros_like(batch.artist))).to(features)
        group = torch.cat((batch.artist, torch.full_like(batch.artist, -1)))
        index = torch.cat((2 * batch.index, 2 * batch.index + 1))
        return _Seen(features, label, group, index, torch.ones_like(label))
