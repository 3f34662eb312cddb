"""ContraAST: style transfer by attention, an adversary that has seen the whole museum, and contrast between results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from lightning_modules.base import StyleTransferModule
from lightning_modules.contraast.losses import (
    arrange_pairs,
    euclidean,
    least_squares,
    log_likelihood,
    shared_attribute_loss,
)
from lightning_modules.contraast.networks import DEEP, Generator, MultiScaleDiscriminator, ProjectionHead, StyleKeys
from lightning_modules.losses.content import content_loss
from lightning_modules.losses.distributed import gather_with_gradient, rank_offset
from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.losses.style import style_loss
from lightning_modules.networks.tiling import in_tiles
from lightning_modules.types import Condition, Manner, StyleBatch
from lightning_modules.weights import WeightsSource, load_vgg, need_vgg, resolve

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_HEAD_LAYER, CONTENT_HEAD_LAYER = "relu3_1", "relu4_1"
PAPER_CONTENT_LAYER = "conv4_2"
Variant = Literal["paper", "reference"]
# Above 4 megapixels encoder and decoder run tile by tile. Tiles of 1536 pixels; the halos hold how far relu5_1 sees (85
# pixels, in cells of 16) and how far a pixel is seen from by the decoder (30, in cells of 8).
TILED_ABOVE = 2**22
ENCODER_TILE, ENCODER_HALO = 96, 6
DECODER_TILE, DECODER_HALO = 192, 5
# Units of the first layer of the style and the content head.
HIDDEN: dict[Variant, tuple[int, int]] = {"paper": (256, 128), "reference": (128, 256)}


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of eq. 7 and eq. 4; a weight of 0 takes the term, and what only it needs, away.

    Attributes:
        style: lambda 1, eq. 1.
        adversarial: lambda 2, eq. 2.
        content: lambda 3, eq. 3.
        identity_image: lambda identity 1 (times lambda 4, which is 1), eq. 4.
        identity_feature: lambda identity 2 (times lambda 4), eq. 4.
        style_contrast: lambda 5, eq. 5.
        content_contrast: lambda 6, eq. 6.
    """

    style: float = 1.0
    adversarial: float = 5.0
    content: float = 1.0
    identity_image: float = 50.0
    identity_feature: float = 1.0
    style_contrast: float = 0.3
    content_contrast: float = 0.3


class Painted(NamedTuple):
    """One generator pass over a batch, with h contents, h styles and b = 2 h stylised pictures.

    Attributes:
        known: Features of the 2 h unique inputs, contents first.
        content: Number of the content of each stylised picture, ``(b,)``.
        style: Number of the style of each stylised picture, ``(b,)``.
        stylized: ``(b, 3, H, W)``.
        identity: ``(2 h, 3, H, W)``, every input with itself as style.
    """

    known: dict[str, Tensor]
    content: Tensor
    style: Tensor
    stylized: Tensor
    identity: Tensor


class CachedStyle(NamedTuple):
    """The style images of the last call.

    Attributes:
        seen: What their keys depend on: the images and the weights that make keys of them.
        half: Whether they were computed in half precision.
        keys: What the generator needs of them.
    """

    seen: list[Tensor]
    half: bool
    keys: StyleKeys


class ContraAST(StyleTransferModule):
    """Artistic Style Transfer with Internal-external Learning and Contrastive Learning (NeurIPS 2021).

    A batch of ``h`` contents and ``h`` styles makes ``b = 2 h`` stylised pictures (section 3.2).

    Args:
        optimizer: Of generator and projection heads.
        discriminator_optimizer: Of the discriminator.
        scheduler: Learning-rate schedule of both, stepped every iteration.
        weights: Where the frozen encoder comes from.
        variant: ``reference`` computes the losses as the public code does, ``paper`` as the paper writes them; see the
            package's README.
        skips: Channels of shallow skips in the decoder; 0 for none, as in the paper.
        discriminator_scales: Number of patch discriminators.
        discriminator_width: Channels of their first layer.
        loss: Weight of each term.
        temperature: Of both contrasts.
        gather: Contrast with the pictures of all ranks instead of the own ones only.
        compile: Train with encoder, decoder and discriminator compiled by ``torch.compile``; needs a C++ compiler.
        clip: See `StyleTransferModule`.
        accumulate: See `StyleTransferModule`.
        validate_with: See `StyleTransferModule`.
    """

    conditions: ClassVar[frozenset[Condition]] = frozenset({"image"})
    loss_parts: ClassVar[tuple[str, ...]] = ("style_head", "content_head", "discriminator")

    def __init__(
        self,
        optimizer: OptimizerCallable,
        discriminator_optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        *,
        weights: WeightsSource = "auto",
        variant: Variant = "reference",
        skips: int = 0,
        discriminator_scales: int = 3,
        discriminator_width: int = 64,
        loss: LossWeights = LossWeights(),
        temperature: float = 0.2,
        gather: bool = False,
        compile: bool = False,  # noqa: A002 - as everybody calls it
        clip: float | None = None,
        accumulate: int = 1,
        validate_with: Condition = "image",
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate, validate_with=validate_with)
        self.make_optimizer = optimizer
        self.make_discriminator_optimizer = discriminator_optimizer
        self.make_scheduler = scheduler
        self.variant = variant
        self.loss = loss
        self.temperature = temperature
        self.gather = gather
        self.compiled = compile

        source = self.settled["weights"] = resolve(weights, need_vgg("vgg19_normalised"))
        self.encoder = load_vgg(source, variant="vgg19_normalised")
        self.encoder.trunk.fold_colour()
        channels = self.encoder.channels
        self.generator = Generator([channels[name] for name in LAYERS], skips=skips)
        style_hidden, content_hidden = HIDDEN[variant]
        self.style_head = ProjectionHead(channels[STYLE_HEAD_LAYER], style_hidden)
        self.content_head = ProjectionHead(channels[CONTENT_HEAD_LAYER], content_hidden)
        adversary = MultiScaleDiscriminator(discriminator_scales, discriminator_width)
        self.discriminator = adversary if loss.adversarial else None
        self._cached_style: CachedStyle | None = None

    # ------------------------------------------------------------------ painting

    def _render(self, content: Tensor, manner: Manner) -> Tensor:
        style, alpha = manner.style, manner.alpha
        assert style is not None  # noqa: S101 - checked by the base class
        features = self._encode(content)
        queries = self.generator.transform.queries(features)
        keys = self._style_keys(style)
        transform, decoder = self.generator.transform, self.generator.decoder
        restyled, statistics = transform(features, queries, keys.levels), list(keys.statistics)
        if alpha != 1:
            # The content in its own style is what the identity loss has trained: the natural end of the scale.
            own = self.generator.style_keys(features)
            restyled = torch.lerp(transform(features, queries, own.levels), restyled, alpha)
            statistics = [
                (torch.lerp(mean, goal_mean, alpha), torch.lerp(std, goal_std, alpha))
                for (mean, std), (goal_mean, goal_std) in zip(own.statistics, statistics, strict=True)
            ]
        inputs = [restyled, *decoder.styled_skips(features, statistics)]
        if content.shape[-2] * content.shape[-1] <= TILED_ABOVE:
            return cast(Tensor, decoder(*inputs))
        cells = (restyled.shape[-2], restyled.shape[-1])
        return in_tiles(lambda *parts: [decoder(*parts)], inputs, cells, tile=DECODER_TILE, halo=DECODER_HALO)[0]

    def _encode(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features that the generator needs, of pictures ``(B, 3, H, W)``; large ones tile by tile."""
        layers, (height, width) = self._generator_layers(), images.shape[-2:]
        if height * width <= TILED_ABOVE:
            return cast(dict[str, Tensor], self.encoder(images, layers))
        # Styles come in any size; tiles need whole cells, and a few pixels of a large picture are no loss.
        cells = (height // self.stride, width // self.stride)
        whole = images[..., : cells[0] * self.stride, : cells[1] * self.stride]

        def encode(part: Tensor) -> list[Tensor]:
            maps = self.encoder(part, layers)
            return [maps[name] for name in layers]

        return dict(zip(layers, in_tiles(encode, [whole], cells, tile=ENCODER_TILE, halo=ENCODER_HALO), strict=True))

    def _style_keys(self, style: Tensor) -> StyleKeys:
        """Return the keys of style images, from the last call where style and weights are still the same."""
        count, place = len(style), torch.arange(len(style), device=style.device)
        if bool((style == style[:1]).all()):  # one style for many contents
            style, place = style[:1], torch.zeros_like(place)
        known = self._cached_style
        seen = [style, *self.generator.transform.key_weights()]
        half = torch.is_autocast_enabled(style.device.type)
        if known is None or known.half != half or not all(map(_same, known.seen, seen)):
            small = min(style.shape[-2:]) < 2 * self.stride  # relu5_1 would be a single pixel
            large = F.interpolate(style, (2 * self.stride, 2 * self.stride), mode="bilinear") if small else style
            keys = self.generator.style_keys(self._encode(large))
            # Copies, compared by value: whoever owns style and weights may write into them, past every version count.
            known = self._cached_style = CachedStyle([tensor.detach().clone() for tensor in seen], half, keys)
        return known.keys if len(style) == count else known.keys.take(place)

    def _generator_layers(self) -> tuple[str, ...]:
        return DEEP if self.generator.decoder.skips is None else (*LAYERS[:2], *DEEP)

    # ------------------------------------------------------------------ training

    def on_fit_start(self) -> None:
        """Compile in place, so that the names in checkpoints stay."""
        for network in (self.encoder.trunk, self.generator.decoder, self.discriminator) if self.compiled else ():
            if network is not None:
                network.compile()

    def training_step(self, batch: StyleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """One generator pass, one step of the discriminator, one step of the generator against the updated one."""
        painted = self.paint_batch(batch)
        optimizers = self._optimizers()
        if self.discriminator is not None:
            with self.optimizing(optimizers[1]) as backward:
                loss, accuracy = self.discriminator_loss(batch.style, painted.stylized.detach())
                backward(loss)
            self.log_terms({"discriminator": loss, "discriminator_accuracy": accuracy})
        with self.optimizing(optimizers[0]) as backward:
            terms = self.generator_terms(batch, painted)
            total = torch.stack([getattr(self.loss, name) * term for name, term in terms.items()]).sum()
            backward(total)
        self.log_terms({**terms, "total": total})

    def paint_batch(self, batch: StyleBatch) -> Painted:
        """Run the generator once over everything that the losses look at.

        Every unique picture is encoded once, its queries and keys are computed once, and stylisations and identities
        go through attention and decoder as one batch.
        """
        half = len(batch.content)
        content, style = self.arrange(half)
        with torch.no_grad():
            known = self.encoder(torch.cat([batch.content, batch.style]), self._loss_layers())
        own = torch.arange(2 * half, device=self.device)
        as_content, as_style = torch.cat([content, own]), torch.cat([style + half, own])
        # Plain indexing would add the gradients of repeated pictures in whatever order the threads come.
        queries = [query.index_select(0, as_content) for query in self.generator.transform.queries(known)]
        keys = self.generator.style_keys(known).take(as_style)
        features = {name: known[name][as_content] for name in self._generator_layers()}
        stylized, identity = self.generator(features, queries, keys).split(2 * half)
        return Painted(known, content, style, stylized, identity)

    def arrange(self, half: int) -> tuple[Tensor, Tensor]:
        """Return content and style numbers of a batch's stylised pictures; see `arrange_pairs`."""
        return arrange_pairs(half, self.device)

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return the discriminator's loss, eq. 2, and the share of patches that it takes for what they are.

        Args:
            real: Paintings, ``(B, 3, H, W)``.
            fake: Detached stylisations, ``(b, 3, H, W)``.
        """
        assert self.discriminator is not None  # noqa: S101 - asked before
        real_scores, fake_scores = self.discriminator(real), self.discriminator(fake)
        judge, middle = (least_squares, 0.5) if self.variant == "reference" else (log_likelihood, 0.0)
        with torch.no_grad():
            right = [(score > middle).float().mean() for score in real_scores]
            right += [(score <= middle).float().mean() for score in fake_scores]
        return judge(real_scores, True) + judge(fake_scores, False), torch.stack(right).mean()

    def generator_terms(self, batch: StyleBatch, painted: Painted) -> dict[str, Tensor]:
        """Return every unweighted term of eq. 7 whose weight is not 0."""
        size = len(painted.stylized)
        inputs = torch.cat([batch.content, batch.style])
        judged = torch.cat([painted.stylized, painted.identity])
        features = self.encoder(judged, self._loss_layers())
        # Split, not sliced: the gradient of a slice is a whole map, mostly zeros.
        parts = {name: maps.split(size) for name, maps in features.items()}
        stylized, identity = ({name: part[which] for name, part in parts.items()} for which in range(2))
        terms = {"style": self._style_term(stylized, painted), "content": self._content_term(stylized, painted)}
        terms |= self._identity_terms(inputs, identity, painted)
        if self.loss.style_contrast or self.loss.content_contrast:
            terms |= self._contrast_terms(stylized, painted)
        if self.discriminator is not None:
            scores = self.discriminator(painted.stylized)
            # Eq. 2 to the letter saturates; least squares does not.
            paper = self.variant == "paper"
            terms["adversarial"] = -log_likelihood(scores, False) if paper else least_squares(scores, True)
        return {name: term for name, term in terms.items() if getattr(self.loss, name)}

    def _style_term(self, stylized: Mapping[str, Tensor], painted: Painted) -> Tensor:
        half = len(painted.stylized) // 2
        target = {}
        for name in LAYERS:
            mean, std = channel_statistics(painted.known[name][half:])
            target[name] = (mean[painted.style], std[painted.style])
        return style_loss({name: stylized[name] for name in LAYERS}, target, distance=self._distance)

    def _content_term(self, stylized: Mapping[str, Tensor], painted: Painted) -> Tensor:
        if self.variant == "paper":
            return euclidean(stylized[PAPER_CONTENT_LAYER], painted.known[PAPER_CONTENT_LAYER][painted.content])
        known = {name: painted.known[name][painted.content] for name in DEEP}
        return len(DEEP) * content_loss(stylized, known, DEEP)  # the public code sums over layers

    def _identity_terms(self, inputs: Tensor, identity: Mapping[str, Tensor], painted: Painted) -> dict[str, Tensor]:
        # The sum of a mean over contents and a mean over styles is twice the mean over both.
        feature_terms = [self._distance(identity[name], painted.known[name]) for name in LAYERS]
        return {
            "identity_image": 2 * self._distance(painted.identity, inputs),
            "identity_feature": 2 * torch.stack(feature_terms).sum(),
        }

    def _contrast_terms(self, stylized: Mapping[str, Tensor], painted: Painted) -> dict[str, Tensor]:
        style = self.style_head(stylized[STYLE_HEAD_LAYER])
        content = self.content_head(stylized[CONTENT_HEAD_LAYER])
        styles, contents = painted.style, painted.content
        if self.gather:
            offset = rank_offset(len(style), style.device)
            styles, contents = (gather_with_gradient(numbers + offset) for numbers in (styles, contents))
            style, content = gather_with_gradient(style), gather_with_gradient(content)
        how = {"temperature": self.temperature, "reduction": "mean" if self.variant == "paper" else "sum"}
        return {
            "style_contrast": shared_attribute_loss(style, styles, contents, **how),  # type: ignore[arg-type]
            "content_contrast": shared_attribute_loss(content, contents, styles, **how),  # type: ignore[arg-type]
        }

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return euclidean(a, b) if self.variant == "paper" else F.mse_loss(a, b)

    def _loss_layers(self) -> tuple[str, ...]:
        return LAYERS if self.variant == "reference" else (*LAYERS, PAPER_CONTENT_LAYER)

    def configure_optimizers(self) -> list[OptimizerLRScheduler]:  # type: ignore[override]
        """One optimiser for generator and heads, one for the discriminator."""
        trained = [self.generator, self.style_head, self.content_head]
        optimizers = [self.make_optimizer([p for module in trained for p in module.parameters()])]
        if self.discriminator is not None:
            optimizers.append(self.make_discriminator_optimizer(self.discriminator.parameters()))
        if self.make_scheduler is None:
            return optimizers  # type: ignore[return-value]
        return [{"optimizer": each, "lr_scheduler": self.make_scheduler(each)} for each in optimizers]  # type: ignore[misc]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
