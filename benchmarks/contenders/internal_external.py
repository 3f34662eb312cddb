"""A training step of ContraAST and of those who build on it: ours, and the public code's order in plain layers."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.internal_external.objectives import LAYERS
from lightning_modules.internal_external.training import InternalExternal
from lightning_modules.losses.adversarial import least_squares
from lightning_modules.losses.shared_attribute import shared_attribute_loss
from lightning_modules.types import StyleBatch

Losses = dict[str, float]
Maps = list[Tensor]


class Seen(NamedTuple):
    """Pictures ``(B, 3, H, W)`` and the encoder's maps of them, relu1_1 to relu5_1."""

    pictures: Tensor
    maps: Maps


class PlainPainter(nn.Module, ABC):
    """Encoder, transform and decoder as public codes have them, written as well as their authors could.

    Rectifiers work in place and maps lie as the device likes them. Every picture is encoded when it is met, attention
    is two products and a softmax between, statistics are torch's own.

    Args:
        model: Whose convolutions are used.
    """

    def __init__(self, model: InternalExternal) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(_encoder_blocks(model))
        self.decoder = nn.Sequential(*_decoder_layers(model))

    @abstractmethod
    def transform(self, content: Maps, style: Maps) -> Tensor:
        """Return what the decoder paints from."""

    def encode(self, images: Tensor, levels: int = len(LAYERS)) -> Maps:
        """Return relu1_1 to relu5_1, or the first of them."""
        maps = []
        for block in self.encoder[:levels]:
            images = block(images)
            maps.append(images)
        return maps

    def paint(self, content: Seen, style: Seen) -> Tensor:
        """Transform and decode."""
        picture: Tensor = self.decoder(self.transform(content.maps, style.maps))
        return picture

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Paint ``(B, 3, H, W)`` contents with as many styles; sides are multiples of 16."""
        seen = (Seen(pictures, self.encode(pictures)) for pictures in (content, style))
        return self.paint(*seen).clamp(0, 1)


class Step:
    """One iteration: pictures, the discriminator's step, the generator's step."""

    def __init__(self, model: InternalExternal) -> None:
        self.model = model
        trained = [model.generator, model.style_head, model.content_head]
        self.optimizer = torch.optim.Adam([p for module in trained for p in module.parameters()], lr=1e-4)
        assert model.discriminator is not None  # noqa: S101
        self.discriminator = model.discriminator
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=1e-4, betas=(0.5, 0.999))

    def train_discriminator(self, loss: Tensor) -> None:
        """Take its step."""
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()

    def train_generator(self, terms: dict[str, Tensor]) -> None:
        """Take its step."""
        self.optimizer.zero_grad()
        torch.stack([getattr(self.model.loss, name) * term for name, term in terms.items()]).sum().backward()
        self.optimizer.step()


class Fast(Step):
    """The step of `InternalExternal`, without Lightning around it."""

    def __call__(self, batch: StyleBatch) -> Losses:
        """Run it, and return the losses."""
        painted = self.model.paint_batch(batch)
        loss, _ = self.model.discriminator_loss(batch.style, painted.stylized.detach())
        self.train_discriminator(loss)
        self.discriminator.requires_grad_(False)
        terms = self.model.generator_terms(batch, painted)
        self.train_generator(terms)
        self.discriminator.requires_grad_(True)
        return values({"discriminator": loss, **terms})


class Literal(Step):
    """The public code's order of things: everything on the batch that holds each input twice."""

    plain: PlainPainter

    def __call__(self, batch: StyleBatch) -> Losses:
        """Run it, and return the losses."""
        numbers, twice = self.model.arrange(len(batch.content))
        layout = torch.channels_last if batch.content.device.type == "cpu" else torch.contiguous_format
        content, style = (
            Seen(images, self.plain.encode(images))
            for images in (
                pictures[index].contiguous(memory_format=layout)
                for pictures, index in ((batch.content, numbers), (batch.style, twice))
            )
        )
        stylized = self.plain.paint(content, style)
        maps = self.plain.encode(stylized)
        terms = {
            "style": torch.stack([_moments_apart(a, b) for a, b in zip(maps, style.maps, strict=True)]).sum(),
            "content": sum(F.mse_loss(norm(maps[level]), norm(content.maps[level])) for level in (3, 4)),
            "style_contrast": self.style_contrast(batch, maps[2], twice, numbers),
            "content_contrast": shared_attribute_loss(self.model.content_head(maps[3]), numbers, twice),
        }
        pairs = (self._identity(content), self._identity(style))
        terms["identity_image"], terms["identity_feature"] = (sum(both) for both in zip(*pairs, strict=True))

        scores = self.discriminator(style.pictures), self.discriminator(stylized.detach())
        loss = least_squares(scores[0], True) + least_squares(scores[1], False)
        self.train_discriminator(loss)
        terms["adversarial"] = least_squares(self.discriminator(stylized), True)
        terms |= self.further_terms(content.pictures, style.pictures, stylized)
        self.train_generator(terms)
        return values({"discriminator": loss, **terms, **self.train_critics()})

    def style_contrast(self, batch: StyleBatch, maps: Tensor, styles: Tensor, contents: Tensor) -> Tensor:  # noqa: ARG002
        """Return eq. 5, of the maps relu3_1 of stylised pictures."""
        return shared_attribute_loss(self.model.style_head(maps), styles, contents)

    def further_terms(self, content: Tensor, style: Tensor, stylized: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Return what else the generator learns from."""
        return {}

    def train_critics(self) -> dict[str, Tensor]:
        """Take the steps of whoever learns after the generator, and return their losses."""
        return {}

    def _identity(self, own: Seen) -> tuple[Tensor, Tensor]:
        again = self.plain.paint(own, own)
        found = self.plain.encode(again)
        layers = [F.mse_loss(a, b) for a, b in zip(found, own.maps, strict=True)]
        return F.mse_loss(again, own.pictures), torch.stack(layers).sum()


def values(terms: dict[str, Tensor]) -> Losses:
    """Return the losses as numbers."""
    return {name: float(term.detach()) for name, term in terms.items()}


def gather_by_resemblance(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Write the matrix of all pairs of positions out; maps ``(B, C, H, W)``."""
    weights = torch.bmm(query.flatten(2).transpose(1, 2), key.flatten(2)).softmax(-1)
    gathered = torch.bmm(value.flatten(2), weights.transpose(1, 2))
    return gathered.unflatten(2, query.shape[-2:])


def norm(maps: Tensor) -> Tensor:
    """Take mean and deviation out of every channel."""
    mean, std = _moments(maps)
    return (maps - mean) / std


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps.mean((2, 3), keepdim=True), maps.var((2, 3), keepdim=True).add(1e-5).sqrt()


def _moments_apart(maps: Tensor, goal: Tensor) -> Tensor:
    return torch.stack([F.mse_loss(a, b) for a, b in zip(_moments(maps), _moments(goal), strict=True)]).sum()


def _encoder_blocks(model: InternalExternal) -> list[nn.Sequential]:
    """Return the layers up to relu1_1, from there to relu2_1, and so on."""
    blocks, layers = [], []
    for name, convolution in model.encoder.trunk.convs.items():
        first = name.endswith("_1")
        layers += [nn.MaxPool2d(2, ceil_mode=True)] if first and blocks else []
        layers += [nn.ReflectionPad2d(1), convolution, nn.ReLU(inplace=True)]
        if first:
            blocks.append(nn.Sequential(*layers))
            layers = []
    return blocks[: len(LAYERS)]


def _decoder_layers(model: InternalExternal) -> list[nn.Module]:
    decoder = model.generator.decoder
    layers: list[nn.Module] = []
    for stage in (decoder.stage4, decoder.stage3, decoder.stage2, decoder.stage1):
        layers += [nn.Upsample(scale_factor=2)] if layers else []
        for block in stage:
            layers += [nn.ReflectionPad2d(1), block.convolution]
            layers += [nn.ReLU(inplace=True)] if block.relu else []
    return layers
