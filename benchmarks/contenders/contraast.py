"""A training step and a painting of ContraAST: ours, and the public code's order of things in plain layers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.contraast import ContraAST
from lightning_modules.contraast.networks import StyleAttention
from lightning_modules.internal_external.training import LAYERS
from lightning_modules.losses.adversarial import least_squares
from lightning_modules.losses.shared_attribute import shared_attribute_loss
from lightning_modules.types import StyleBatch

Losses = dict[str, float]
Maps = list[Tensor]


class PlainGenerator(nn.Module):
    """Encoder, transform and decoder as the public code has them, written as well as its author could.

    Rectifiers work in place and maps lie as the device likes them. Every picture is encoded when it is met, attention
    is two products and a softmax between, statistics are torch's own.

    Args:
        model: Whose convolutions are used.
    """

    def __init__(self, model: ContraAST) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(_encoder_blocks(model))
        self.decoder = nn.Sequential(*_decoder_layers(model))
        transform = model.generator.transform
        self.attentions, self.merge = transform.attentions, transform.merge.convolution

    def encode(self, images: Tensor) -> Maps:
        """Return relu1_1 to relu5_1."""
        maps = []
        for block in self.encoder:
            images = block(images)
            maps.append(images)
        return maps

    def paint(self, content: Maps, style: Maps) -> Tensor:
        """Transform and decode."""
        upper, lower = (
            attend(attention, content[level], style[level])  # type: ignore[arg-type]
            for attention, level in zip(self.attentions, (3, 4), strict=True)
        )
        merged = self.merge(F.pad(upper + F.interpolate(lower, upper.shape[-2:]), (1, 1, 1, 1), mode="reflect"))
        picture: Tensor = self.decoder(merged)
        return picture

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Paint ``(B, 3, H, W)`` contents with as many styles; sides are multiples of 16."""
        return self.paint(self.encode(content), self.encode(style)).clamp(0, 1)


class Step:
    """One iteration: pictures, the discriminator's step, the generator's step."""

    def __init__(self, model: ContraAST) -> None:
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
    """The step of `ContraAST`, without Lightning around it."""

    def __call__(self, batch: StyleBatch) -> Losses:
        """Run it, and return the losses."""
        painted = self.model.paint_batch(batch)
        loss, _ = self.model.discriminator_loss(batch.style, painted.stylized.detach())
        self.train_discriminator(loss)
        self.discriminator.requires_grad_(False)
        terms = self.model.generator_terms(batch, painted)
        self.train_generator(terms)
        self.discriminator.requires_grad_(True)
        return _values(loss, terms)


class Literal(Step):
    """The public code's order of things: everything on the batch that holds each input twice."""

    def __init__(self, model: ContraAST) -> None:
        super().__init__(model)
        self.plain = PlainGenerator(model)

    def __call__(self, batch: StyleBatch) -> Losses:
        """Run it, and return the losses."""
        numbers, twice = self.model.arrange(len(batch.content))
        layout = torch.channels_last if batch.content.device.type == "cpu" else torch.contiguous_format
        content, style = (
            images[index].contiguous(memory_format=layout)
            for images, index in ((batch.content, numbers), (batch.style, twice))
        )
        style_maps, content_maps = self.plain.encode(style), self.plain.encode(content)
        stylized = self.plain.paint(content_maps, style_maps)
        maps = self.plain.encode(stylized)
        terms = {
            "style": torch.stack([_moments_apart(a, b) for a, b in zip(maps, style_maps, strict=True)]).sum(),
            "content": sum(F.mse_loss(norm(maps[level]), norm(content_maps[level])) for level in (3, 4)),
            "style_contrast": shared_attribute_loss(self.model.style_head(maps[2]), twice, numbers),
            "content_contrast": shared_attribute_loss(self.model.content_head(maps[3]), numbers, twice),
        }
        pairs = (self._identity(content, content_maps), self._identity(style, style_maps))
        terms["identity_image"], terms["identity_feature"] = (sum(both) for both in zip(*pairs, strict=True))

        scores = self.discriminator(style), self.discriminator(stylized.detach())
        loss = least_squares(scores[0], True) + least_squares(scores[1], False)
        self.train_discriminator(loss)
        terms["adversarial"] = least_squares(self.discriminator(stylized), True)
        self.train_generator(terms)
        return _values(loss, terms)

    def _identity(self, images: Tensor, known: Maps) -> tuple[Tensor, Tensor]:
        again = self.plain.paint(known, known)
        found = self.plain.encode(again)
        layers = [F.mse_loss(a, b) for a, b in zip(found, known, strict=True)]
        return F.mse_loss(again, images), torch.stack(layers).sum()


def attend(attention: StyleAttention, content: Tensor, style: Tensor) -> Tensor:
    """Write the matrix of all pairs of positions out."""
    query = attention.query(norm(content)).flatten(2).transpose(1, 2)
    key = attention.key(norm(style)).flatten(2)
    value = attention.value(style).flatten(2)
    weights = torch.bmm(query, key).softmax(-1)
    gathered = torch.bmm(value, weights.transpose(1, 2)).view_as(content)
    restyled: Tensor = attention.out(gathered) + content
    return restyled


def norm(maps: Tensor) -> Tensor:
    """Take mean and deviation out of every channel."""
    mean, std = _moments(maps)
    return (maps - mean) / std


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps.mean((2, 3), keepdim=True), maps.var((2, 3), keepdim=True).add(1e-5).sqrt()


def _moments_apart(maps: Tensor, goal: Tensor) -> Tensor:
    return torch.stack([F.mse_loss(a, b) for a, b in zip(_moments(maps), _moments(goal), strict=True)]).sum()


def _encoder_blocks(model: ContraAST) -> list[nn.Sequential]:
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


def _decoder_layers(model: ContraAST) -> list[nn.Module]:
    decoder = model.generator.decoder
    layers: list[nn.Module] = []
    for stage in (decoder.stage4, decoder.stage3, decoder.stage2, decoder.stage1):
        layers += [nn.Upsample(scale_factor=2)] if layers else []
        for block in stage:
            layers += [nn.ReflectionPad2d(1), block.convolution]
            layers += [nn.ReLU(inplace=True)] if block.relu else []
    return layers


def _values(discriminator: Tensor, terms: dict[str, Tensor]) -> Losses:
    return {name: float(term.detach()) for name, term in {"discriminator": discriminator, **terms}.items()}
