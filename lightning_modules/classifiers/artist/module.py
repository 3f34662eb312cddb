"""ArtistClassification: trains a network to name the artist of a painting."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.classifiers.augmentation import degrade, jitter_colours, shuffle_colours
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import Experiment
from lightning_modules.networks.artist_classifier import ArtistVGG, build_network
from lightning_modules.networks.export import export
from lightning_modules.optim.schedule import scheduled
from lightning_modules.types import StyleBatch
from lightning_modules.weights import load_vgg16_state


class ArtistClassification(Experiment):
    """Cross entropy over artists, on crops whose colours and damage tell nothing.

    ``L = -sum_a q_a log softmax(f(x))_a`` with ``q = 1 - s`` for the painter plus ``s / A`` for everybody. Both
    paintings of every sample, ``style`` and ``reference``, are trained on, so a step sees twice the batch size; how
    often an artist comes is the data module's business (by default all equally often).

    The artists are those of the data module, so the network is built when the data is known.

    Args:
        optimizer: Optimiser of the whole network.
        scheduler: Learning-rate schedule, stepped every iteration.
        network: ``brushwork`` sees pictures at their own size, ``vgg16`` a square of 224 pixels.
        weights: Start of a ``vgg16``: ``random`` as in the protocol, or ``pretrained`` on ImageNet. A brushwork network
            always starts at random.
        widths: Channels of the brushwork network's stages.
        depths: Blocks in each of them.
        sizes: Every training batch is scaled to one of these sides, in pixels; none leaves the crops as they come.
        jitter: Share by which exposure, contrast, saturation and white balance change.
        shuffle: Share of crops that turn grey, and of those whose channels are permuted.
        spoil: Blur, noise and JPEG compression on half of the crops.
        smoothing: s, the share of the target that all artists get alike.
        clip: See `ManualOptimization`.
        accumulate: See `ManualOptimization`.

    Raises:
        ImpastoError: If pretrained weights are asked for a network that has none.

    Source: Sanakoyeu et al. 2018, section 4.2, for ``vgg16`` from random weights; the rest is ours.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        *,
        network: Literal["brushwork", "vgg16"] = "brushwork",
        weights: Literal["random", "pretrained"] = "random",
        widths: Sequence[int] = (32, 64, 128, 192),
        depths: Sequence[int] = (1, 1, 2, 1),
        sizes: Sequence[int] = (),
        jitter: float = 0.25,
        shuffle: float = 0.07,
        spoil: bool = True,
        smoothing: float = 0.05,
        clip: float | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate)
        if weights == "pretrained" and network != "vgg16":
            raise ImpastoError(f"There are no pretrained weights of a {network} network: choose weights random.")
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.pretrained = weights == "pretrained"
        self.description: dict[str, Any] = {"network": network}
        if network == "brushwork":
            self.description |= {"widths": list(widths), "depths": list(depths)}
        self.sizes = tuple(sizes)
        self.jitter = jitter
        self.shuffle = shuffle
        self.spoil = spoil
        self.smoothing = smoothing
        self.artists: tuple[str, ...] = ()
        self.network: nn.Module | None = None

    def configure_model(self) -> None:
        """Build the network for the artists of the data, once.

        Raises:
            ImpastoError: If the data module names fewer than two artists.
        """
        if self.network is not None:
            return
        artists = tuple(getattr(self.trainer.datamodule, "artists", ()))  # type: ignore[attr-defined]
        if len(artists) < 2:
            raise ImpastoError(f"A classifier needs at least two artists, but the data names {len(artists)}.")
        self.artists = artists
        self.description["artists"] = list(artists)
        self.network = build_network(self.description)
        if self.pretrained:
            cast(ArtistVGG, self.network).fill(load_vgg16_state())

    def configure_optimizers(self) -> list[Any]:
        """One optimiser; weight decay spares biases and norms."""
        groups = [
            {"params": [p for p in self.parameters() if p.ndim > 1]},
            {"params": [p for p in self.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        return scheduled([self.make_optimizer(groups)], self.make_scheduler)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits over `artists`, ``(B, A)``, of ``(B, 3, H, W)`` in [0, 1]."""
        assert self.network is not None  # noqa: S101 - configure_model() came first
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: StyleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Name the painters of one batch of crops."""
        pictures, labels = batch.style, batch.artist
        if batch.reference is not None:
            pictures, labels = torch.cat((pictures, batch.reference)), labels.repeat(2)
        with self.optimizing(self._optimizers()[0]) as backward:
            logits = self(self.augment(pictures))
            loss = F.cross_entropy(logits, labels, label_smoothing=self.smoothing)
            backward(loss)
        self.log_terms({"total": loss, "accuracy": (logits.argmax(1) == labels).float().mean()})

    def validation_step(self, batch: StyleBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Return the logits of a batch of paintings, ``(B, A)``; callbacks make metrics of them."""
        return cast(Tensor, self(batch.style))

    def test_step(self, batch: StyleBatch, batch_idx: int) -> Tensor:
        """Do on the test split what `validation_step` does on its own."""
        return self.validation_step(batch, batch_idx)

    @torch.no_grad()
    def augment(self, pictures: Tensor) -> Tensor:
        """Return crops of one of `sizes`, with other colours and in worse condition; both in [0, 1]."""
        generator = torch.default_generator  # reseeded by every iteration
        if self.sizes:
            side = self.sizes[int(torch.randint(len(self.sizes), (), generator=generator))]
            pictures = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
        pictures = shuffle_colours(jitter_colours(pictures, self.jitter, generator), self.shuffle, generator)
        return degrade(pictures, generator) if self.spoil else pictures

    def export(self, path: Path, measured: Mapping[str, Any]) -> None:
        """Write what `lightning_modules.weights.load_artist_classifier` reads.

        Args:
            path: A file name that ends in ``.safetensors``; the JSON file lands beside it.
            measured: Figures that belong to the weights.
        """
        assert self.network is not None  # noqa: S101 - configure_model() came first
        export(self.network, {**self.description, "measured": dict(measured)}, path)
