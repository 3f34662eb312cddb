"""Training by internal losses, external adversaries and contrast between stylisations."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_modules.controls import Value
from lightning_modules.errors import ImpastoError
from lightning_modules.internal_external.objectives import (
    CONTENT_HEAD_LAYER,
    LAYERS,
    PAINTER_CODE,
    STYLE_HEAD_LAYER,
    TEXTURE_LAYERS,
    Objectives,
    Painted,
    Variant,
)
from lightning_modules.internal_external.settings import LossWeights
from lightning_modules.losses.distributed import gather_with_gradient
from lightning_modules.losses.shared_attribute import arrange_pairs
from lightning_modules.networks.attention_generator import AttentionTransform, Generator
from lightning_modules.networks.manner import MANNER_LAYERS
from lightning_modules.networks.mirrored_decoder import Texture
from lightning_modules.networks.multi_scale_discriminator import MultiScaleDiscriminator
from lightning_modules.networks.projection_head import ProjectionHead
from lightning_modules.networks.texture_critic import TextureCritic
from lightning_modules.optim.balance import GradientBalance
from lightning_modules.optim.schedule import scheduled
from lightning_modules.types import Condition, StyleBatch
from lightning_modules.weights import WeightsSource, load_vgg, need_vgg, resolve

# Units of the first layer of the style and the content head.
HIDDEN: dict[Variant, tuple[int, int]] = {"paper": (256, 128), "reference": (128, 256)}


class Critic(NamedTuple):
    """Who has been shown a step's pictures, and learns from them after the generator has.

    Attributes:
        name: Of its loss, as it is logged.
        network: What it trains.
        loss: Returns its own loss on what it was shown last.
        optimizer: Makes its optimiser.
    """

    name: str
    network: nn.Module
    loss: Callable[[], Tensor]
    optimizer: OptimizerCallable


class InternalExternal(Objectives):
    """What ContraAST and those who build on it have in common: the arrangement of a batch, the step and its losses.

    A batch of ``h`` contents and ``h`` styles makes ``b = 2 h`` stylised pictures. Internal losses hold each to its
    content and its style, the external ones to what paintings look like, and contrasts hold them to each other.

    Attributes:
        balanced: Terms of the stylised pictures. The others pull at pictures of their own, or at none: nothing to
            balance against.

    Args:
        make_transform: Returns the method's attention, given the encoder's channels by layer.
        optimizer: Of generator and projection heads.
        discriminator_optimizer: Of the discriminator.
        scheduler: Learning-rate schedule of all, stepped every iteration.
        critic_optimizer: Of the texture critic, needed where ``loss.texture`` has a weight.
        weights: Where the frozen encoder comes from.
        variant: ``reference`` computes the losses as the public code does, ``paper`` as the paper writes them; see the
            package's README.
        skips: Channels of shallow skips in the decoder; 0 for none, as in the paper.
        texture: A decoder that makes texture; None for the paper's.
        discriminator_scales: Number of patch discriminators.
        discriminator_width: Channels of their first layer.
        loss: Weight of each term.
        content_layers: Layers of the content loss of the variant ``reference``.
        content_scales: See `shrunken_content_loss`; 1 alone in the paper.
        identity_fraction: Share of the contents and of the styles, at least one of each, that is also painted with
            itself as style; all of them in the paper.
        balance_every: Iterations between two measurements of the loss terms' gradients; 0 takes the weights as they
            are, as in the paper.
        temperature: Of all contrasts.
        gather: Contrast with the pictures of all ranks instead of the own ones only.
        effective_batch: Stylised pictures of several batches and of all ranks that are contrasted with each other and
            share a step: logit accumulation, in the memory of one batch. Pairs are arranged within batches, so that a
            picture still has one partner of its style and one of its content among all. None takes a batch.
        transform_rate: Share of the optimiser's learning rate at which the attention learns, at least 0.
        compile: Train with encoder, decoder and discriminator compiled by ``torch.compile``; needs a C++ compiler.
        clip: See `StyleTransferModule`.
        accumulate: See `StyleTransferModule`.
        validate_with: See `StyleTransferModule`.
        controls: See `StyleTransferModule`.
    """

    balanced: ClassVar[tuple[str, ...]] = (
        "content",
        "style",
        "style_contrast",
        "content_contrast",
        "adversarial",
        "texture",
    )
    loss_parts: ClassVar[tuple[str, ...]] = ("style_head", "content_head", "discriminator", "balance", "critic")

    def __init__(
        self,
        make_transform: Callable[[Mapping[str, int]], AttentionTransform],
        optimizer: OptimizerCallable,
        discriminator_optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        critic_optimizer: OptimizerCallable | None = None,
        *,
        weights: WeightsSource = "auto",
        variant: Variant = "reference",
        skips: int = 0,
        texture: Texture | None = None,
        discriminator_scales: int = 3,
        discriminator_width: int = 64,
        loss: LossWeights = LossWeights(),
        content_layers: Sequence[str] = LAYERS[3:],
        content_scales: Sequence[int] = (1,),
        identity_fraction: float = 1.0,
        balance_every: int = 0,
        temperature: float = 0.2,
        gather: bool = False,
        effective_batch: int | None = None,
        transform_rate: float = 1.0,
        compile: bool = False,  # noqa: A002 - as everybody calls it
        clip: float | None = None,
        accumulate: int = 1,
        validate_with: Condition = "image",
        controls: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate, validate_with=validate_with, controls=controls)
        if transform_rate < 0:
            raise ImpastoError(f"transform_rate is {transform_rate}, and must be at least 0, at which attention rests.")
        self.make_optimizer = optimizer
        self.make_discriminator_optimizer = discriminator_optimizer
        self.make_scheduler = scheduler
        self.make_critic_optimizer = critic_optimizer
        self.variant = variant
        self.loss = loss
        self.content_layers = tuple(content_layers)
        self.content_scales = tuple(content_scales)
        self.identity_fraction = identity_fraction
        self.temperature = temperature
        self.gather = gather or effective_batch is not None
        self.effective_batch = effective_batch
        self.transform_rate = transform_rate
        self.compiled = compile

        source = self.settled["weights"] = resolve(weights, need_vgg("vgg19_normalised"))
        self.encoder = load_vgg(source, variant="vgg19_normalised")
        self.encoder.trunk.fold_colour()
        channels = self.encoder.channels
        shallow = [channels[name] for name in LAYERS[:4]]
        self.generator = Generator(make_transform(channels), shallow, skips=skips, texture=texture)
        style_hidden, content_hidden = HIDDEN[variant]
        self.style_head = ProjectionHead(channels[STYLE_HEAD_LAYER], style_hidden)
        self.content_head = ProjectionHead(channels[CONTENT_HEAD_LAYER], content_hidden)
        self.discriminator: MultiScaleDiscriminator | None = None
        if loss.adversarial:
            self.discriminator = MultiScaleDiscriminator(discriminator_scales, discriminator_width)
        if loss.manner_contrast and texture is None:
            raise ImpastoError("loss.manner_contrast needs vectors of the styles: give model.texture, or no weight.")
        self.critic: TextureCritic | None = None
        if loss.texture:
            if critic_optimizer is None:
                raise ImpastoError(
                    "loss.texture trains a critic: give model.critic_optimizer, as in contraast/tiny.yaml."
                )
            self.critic = TextureCritic({name: channels[name] for name in TEXTURE_LAYERS}, PAINTER_CODE)
        balanced = [name for name in self.balanced if getattr(loss, name)]
        self.balance = GradientBalance(balanced, every=balance_every, until=sys.maxsize) if balance_every else None

    # ------------------------------------------------------------------ training

    def on_fit_start(self) -> None:
        """Compile in place, so that the names in checkpoints stay."""
        for network in (self.encoder.trunk, self.generator.decoder, self.discriminator) if self.compiled else ():
            if network is not None:
                network.compile()

    def training_step(self, batch: StyleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """One generator pass, a step of the discriminator, one of the generator against it, one of the critic."""
        for part in self.parts_to_embed(batch, 2 * len(batch.content)):
            self._train_discriminator(part, self._embed(part))
        for part in self.parts_to_train(batch):
            painted = self.paint_batch(part)
            if not self.contrasts.active:
                self._train_discriminator(part, painted)
            self._train_generator(part, painted)

    @torch.no_grad()
    def _embed(self, batch: StyleBatch) -> Painted:
        """Paint a part of an effective batch without its identities, and let the contrasts see it."""
        painted = self.paint_batch(batch, identities=False)
        layers = (STYLE_HEAD_LAYER, CONTENT_HEAD_LAYER)
        self._contrast_terms(batch, self.encoder(painted.stylized, layers), painted)
        self._manner_terms(batch, painted)
        return painted

    def _train_discriminator(self, batch: StyleBatch, painted: Painted) -> None:
        if self.discriminator is None:
            return
        with self.optimizing(self._optimizers()[1]) as backward:
            loss, accuracy = self.discriminator_loss(batch.style, painted.stylized.detach())
            backward(loss)
        self.log_terms({"discriminator": loss, "discriminator_accuracy": accuracy})

    def _train_generator(self, batch: StyleBatch, painted: Painted) -> None:
        generator, *adversaries = self._optimizers()
        with self.optimizing(generator) as backward:
            terms = self.generator_terms(batch, painted)
            weights = self._weights(terms, painted.stylized)
            total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
            backward(total)
        self.log_terms({**terms, "total": total})
        for critic, optimizer in zip(self.critics(), adversaries[self.discriminator is not None :], strict=True):
            with self.optimizing(optimizer) as backward:
                loss = critic.loss()
                backward(loss)
            self.log_terms({critic.name: loss})

    def critics(self) -> list[Critic]:
        """Return who learns after the generator, in the order of their optimisers."""
        if self.critic is None or self.make_critic_optimizer is None:
            return []
        return [Critic("critic", self.critic, self.critic.loss, self.make_critic_optimizer)]

    def _weights(self, terms: Mapping[str, Tensor], stylized: Tensor) -> dict[str, Tensor | float]:
        """Return what every term counts, in the ratios of the settings where gradients are balanced."""
        if self.balance is None:
            return {name: getattr(self.loss, name) for name in terms}
        first = self.contrasts.number == 0
        weights = self.balance.weigh(vars(self.loss), terms, stylized, self.iteration, first=first)
        self.log_dict({f"weight/{name}": weight for name, weight in weights.items()})
        return weights

    def paint_batch(self, batch: StyleBatch, *, identities: bool = True) -> Painted:
        """Run the generator once over everything that the losses look at.

        Every unique picture is encoded once, its queries and keys are computed once, and stylisations and identities
        go through attention and decoder as one batch.

        Args:
            batch: Of the data.
            identities: Whether to paint those too; what is random is drawn for them all the same.
        """
        half = len(batch.content)
        content, style = self.arrange(half)
        with torch.no_grad():
            known = self.encoder(torch.cat([batch.content, batch.style]), self._loss_layers())
            compared = self.critic is not None and batch.reference is not None
            references = self.encoder(batch.reference, TEXTURE_LAYERS) if compared else {}
            if not self.contrasts.active:
                self._learn_paintings({name: maps[half:] for name, maps in known.items()})
        own = self._own_numbers(half)
        noise = self.generator.manner is not None
        seeds = torch.randint(2**31, (2 * half + len(own),), device=self.device) if noise else None
        own = own if identities else own[:0]
        as_content, as_style = torch.cat([content, own]), torch.cat([style + half, own])
        # Plain indexing would add the gradients of repeated pictures in whatever order the threads come.
        queries = [query.index_select(0, as_content) for query in self.generator.transform.queries(known)]
        keys = self.generator.style_keys(known)
        features = {name: known[name][as_content] for name in self.generator.content_layers}
        seeds = None if seeds is None else seeds[: len(as_style)]
        decoded = self.generator(features, queries, keys.take(as_style), seeds)
        inputs = torch.cat([batch.content, batch.style])
        pictures = self.complete(decoded, inputs[as_content], inputs[as_style])
        stylized, identity = pictures.split([2 * half, len(own)])
        manner = None if keys.manner is None else keys.manner[half:]
        return Painted(known, references, content, style, own, stylized, identity, manner)

    def _learn_paintings(self, features: Mapping[str, Tensor]) -> None:
        manner = self.generator.manner
        if manner is not None and not manner.settled:
            manner.update(gather_with_gradient(manner.measure(features)))

    @torch.no_grad()
    def learn_statistics(self, batch: StyleBatch) -> None:
        """Learn the moments of paintings, where a manner is seen through them."""
        if self.generator.manner is not None and not self.generator.manner.settled:
            self._learn_paintings(self.encoder(batch.style, MANNER_LAYERS))

    def _own_numbers(self, half: int) -> Tensor:
        """Return the numbers of the inputs that are painted with themselves as style, contents first."""
        count = max(1, round(self.identity_fraction * half))
        numbers = torch.arange(count, device=self.device)
        return torch.cat([numbers, numbers + half])

    def arrange(self, half: int) -> tuple[Tensor, Tensor]:
        """Return content and style numbers of a batch's stylised pictures; see `arrange_pairs`."""
        return arrange_pairs(half, self.device)

    def configure_optimizers(self) -> list[Any]:
        """One optimiser for generator and heads, one for the discriminator, one for every critic."""
        optimizers = [self._generator_optimizer()]
        if self.discriminator is not None:
            optimizers.append(self.make_discriminator_optimizer(self.discriminator.parameters()))
        optimizers += [critic.optimizer(critic.network.parameters()) for critic in self.critics()]
        return scheduled(optimizers, self.make_scheduler)

    def _generator_optimizer(self) -> Optimizer:
        trained = [self.generator, self.style_head, self.content_head]
        parameters = [parameter for module in trained for parameter in module.parameters()]
        if self.transform_rate == 1:
            return self.make_optimizer(parameters)
        slow = list(self.generator.transform.parameters())
        known = set(map(id, slow))
        others = [parameter for parameter in parameters if id(parameter) not in known]
        optimizer = self.make_optimizer([{"params": others}, {"params": slow}])
        optimizer.param_groups[1]["lr"] *= self.transform_rate
        return optimizer
