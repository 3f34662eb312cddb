"""NSYNC: a style in words, learnt from its pictures and, by projection, away from pictures of its whole kind."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lightning_modules.controls import Control
from lightning_modules.errors import ImpastoError
from lightning_modules.generation import GenerativeModule, Order
from lightning_modules.nsync.drawing import CONTROLS, draw
from lightning_modules.nsync.latents import LatentCache, cached_posteriors, posteriors_of
from lightning_modules.nsync.lora import LoRA
from lightning_modules.nsync.losses import denoising_loss, diffuse, min_snr_weights, velocity
from lightning_modules.nsync.networks import Adapter, TextualInversion
from lightning_modules.nsync.settings import AdapterName, Granularity, LoRASettings
from lightning_modules.nsync.words import Tokens, Words
from lightning_modules.optim.gradient_projection import ROLES, Algorithm, Role, Variant, roles_of
from lightning_modules.prompts import STYLED, UNSTYLED
from lightning_modules.types import TripletBatch
from lightning_modules.weights import WeightsSource, load_diffusion, need_diffusion, resolve

DENYING: tuple[Variant, ...] = ("CTM", "CTMA")
"""Variants whose negatives' prompts deny the style, so that their gradients may be averaged with the positives'."""


class Example(NamedTuple):
    """A batch as a step takes it, roles first: R positives, anchors and negatives of b samples.

    Attributes:
        picture: Numbers of the pictures, ``(B, 3)``.
        tokens: Prompts, role after role, ``(3 B, L)``.
        posteriors: ``(B, 3, 2, C, h, w)``, or None where the pictures are still to be encoded.
        images: ``(B, 3, 3, S, S)``, RGB in [0, 1], or None.
    """

    picture: Tensor
    tokens: Tokens
    posteriors: Tensor | None
    images: Tensor | None


class Noisy(NamedTuple):
    """What the UNet is asked, every field ``(R, b, ...)``."""

    latents: Tensor
    timestep: Tensor
    target: Tensor
    weight: Tensor


class NSYNC(GenerativeModule):
    """Negative Synthetic Image Generation for Contrastive Training (arXiv 2511.01517).

    ``g = p - proj_n(p) + proj_a(p)`` (eq. 2): the gradient of a positive loses what it shares with that of a negative,
    a picture of the same things that only has the style's general kind, and gains what it shares with that of an
    anchor, another picture of the style.

    Args:
        optimizer: Of the rows or low-rank matrices. Its rate is what it says: nothing scales it by batch or ranks.
        scheduler: Learning-rate schedule, stepped every iteration.
        weights: Where the pipeline's weights come from.
        model: Which pipeline, where they are ``pretrained``; see `lightning_modules.weights.load_diffusion`.
        placeholders: A word for every style, as the data module's.
        initializer: Of ``textual_inversion``: a word or words that the new ones begin as.
        vectors: Of ``textual_inversion``: of each placeholder.
        start: Of ``textual_inversion``: a learned_embeds.safetensors for every style, to begin a fit with instead.
        adapter: What is trained.
        lora: Of ``lora``.
        variant: How gradients are combined; see `lightning_modules.optim.gradient_projection.combine_roles`.
        algorithm: Of them as the paper says, or as its public code does.
        granularity: What is one vector in a projection: all that is trained (of textual inversion: of a style), the two
            matrices of a layer (the same), or every tensor (every vector of a placeholder).
        roles_per_pass: All roles in one pass, or one after the other, which takes less memory and gives the same.
        cache_latents: Encode every picture once, on disk, instead of in every step.
        shared_noise: Give the roles of a sample the same noise and time step.
        min_snr: Gamma of the weights by signal-to-noise ratio; 0 is without.
        checkpointing: Compute the UNet's activations a second time instead of keeping them.
        **settings: See `GenerativeModule`.

    Attributes:
        adapter: What is trained.
        cache: Posteriors of the data's pictures, where they are cached.

    Raises:
        ImpastoError: If a placeholder or the initializer does not fit, or weights are not to be had.
    """

    controls: ClassVar[tuple[Control, ...]] = CONTROLS
    learns_by_heart: ClassVar[bool] = False  # a word does not draw a picture, and never tells noise from noise
    signal: Tensor

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        *,
        placeholders: Sequence[str],
        weights: WeightsSource = "auto",
        model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5",
        initializer: str = "painting",
        vectors: int = 1,
        start: Sequence[str] = (),
        adapter: AdapterName = "textual_inversion",
        lora: LoRASettings = LoRASettings(),
        variant: Variant = "CTOA",
        algorithm: Algorithm = "paper",
        granularity: Granularity = "global",
        roles_per_pass: Literal[1, 3] = 3,
        cache_latents: bool = True,
        shared_noise: bool = False,
        min_snr: float = 0.0,
        checkpointing: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.roles: tuple[Role, ...] = roles_of(variant, algorithm)
        self.variant = variant
        self.roles_per_pass = roles_per_pass
        self.cache_latents = cache_latents
        self.shared_noise = shared_noise
        self.min_snr = min_snr
        source = resolve(weights, need_diffusion(model))
        self.settled["weights"] = source
        self.diffusion = load_diffusion(source, model)
        if checkpointing:
            self.diffusion.unet.enable_gradient_checkpointing()
        self.words = Words(self.diffusion.tokenizer, placeholders, vectors, known=adapter == "textual_inversion")
        self.adapter: Adapter
        if adapter == "textual_inversion":
            self.adapter = TextualInversion(self.words, self._table.weight, initializer, vectors)
        else:
            self.adapter = LoRA(self.diffusion.unet, lora, placeholders[0])
        self.start = tuple(start)
        self.combination = self.adapter.combination(variant, algorithm, granularity)
        self.register_buffer("signal", self.diffusion.scheduler.alphas_cumprod.float(), persistent=False)
        self.cache: LatentCache | None = None

    def adapter_state(self) -> dict[str, dict[str, Tensor]]:
        """Return what was learnt, as diffusers reads it.

        Returns:
            From placeholder to the tensors of one file: of textual inversion those of a learned_embeds.safetensors for
            every style, of LoRA those of one pytorch_lora_weights.safetensors.
        """
        return self.adapter.state()

    # ------------------------------------------------------------------ drawing

    def _draw(self, prompts: list[str], order: Order) -> Tensor:
        texts = [self.words.in_a_style(prompt) for prompt in prompts]
        return draw(self.diffusion, self._embed, texts, order, self.on_iteration)

    def _embed(self, prompts: Sequence[str]) -> Tensor:
        return self._encode(self.words.tokens(prompts).each(lambda part: part.to(self.device)))

    def _encode(self, tokens: Tokens) -> Tensor:
        """Return what the UNet looks at, ``(N, L, D)``."""
        with self._table.register_forward_hook(lambda _layer, _ids, table: self.adapter.embed(table, tokens)):
            return cast(Tensor, self.diffusion.text_encoder(tokens.ids)[0])

    @property
    def _table(self) -> Any:
        return self.diffusion.text_encoder.get_input_embeddings()

    # ------------------------------------------------------------------ training

    def configure_optimizers(self) -> Any:
        """Return the optimiser of what is trained, and its schedule."""
        optimizer = self.make_optimizer(self.adapter.parameters())
        return optimizer if self.make_scheduler is None else ([optimizer], [self.make_scheduler(optimizer)])

    def setup(self, stage: str) -> None:
        """Compare styles with the data's; for a fit, begin with the files asked for, and encode the data's pictures.

        Raises:
            ImpastoError: If the data brings other placeholders, or prompts that the variant is not made for, or a file
                does not fit.
        """
        super().setup(stage)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self._compare(data)
        if stage != TrainerFn.FITTING:
            return
        if self.start:
            self.adapter.begin(self.start)  # not in the constructor: a checkpoint is opened without these files
        if self.cache_latents and hasattr(data, "pictures"):
            self.cache = cached_posteriors(self.diffusion, data, self.trainer.strategy.root_device)
            data.decode = False

    def _compare(self, data: Any) -> None:
        theirs = list(getattr(data, "placeholders", self.words.placeholders))
        if theirs != self.words.placeholders:
            raise ImpastoError(
                f"The model learns {', '.join(self.words.placeholders)} and the data brings {', '.join(theirs)}: give "
                "model.placeholders and the data's styles in the same order."
            )
        suffix = UNSTYLED if self.variant in DENYING else STYLED
        if getattr(data, "negative_suffix", suffix) != suffix and "negative" in self.roles:
            raise ImpastoError(
                f"The variant {self.variant} needs negatives whose prompts say '{suffix}': set data.negative_suffix, "
                f"as experiments/nsync/{self.variant.lower()}.yaml does."
            )

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ARG002 - Lightning's signature
        """Look up what a training step needs while the batch is still on the host."""
        return self.example_of(batch) if isinstance(batch, TripletBatch) else batch

    def example_of(self, batch: TripletBatch) -> Example:
        """Return a batch as a step takes it.

        Raises:
            ImpastoError: If a prompt names no style.
        """
        prompts = [*batch.caption, *batch.anchor_caption, *batch.negative_caption]
        found = None if self.cache is None else self.cache.posteriors(batch.picture, batch.flip)
        return Example(batch.picture, self.words.styled_tokens(prompts), found, batch.images)

    def training_step(self, batch: Example, batch_idx: int) -> None:  # noqa: ARG002
        """Take the gradients of all roles, apart, and step along what the variant makes of them."""
        optimizer = cast(Any, self.optimizers())
        with self.role_gradients(optimizer, self.roles, self._combine) as kept:
            losses = self.differentiate(batch, kept.add, self.manual_backward)
            total = torch.stack(list(losses.values())).sum()
            self.log_terms({str(role): loss for role, loss in losses.items()} | {"total": total})

    def differentiate(
        self, batch: Example, add: Callable[[str, list[Tensor | None]], None], backward: Callable[[Tensor], None]
    ) -> dict[Role, Tensor]:
        """Compute every role's gradient, all in one pass or one after the other; both give the same.

        Args:
            batch: On the module's device.
            add: Is called with a role and its gradients of `adapter`'s weights.
            backward: Backpropagates a loss.

        Returns:
            The roles' losses.
        """
        noisy = self._noisy(batch)
        losses: dict[Role, Tensor] = {}
        for group in self._passes():
            with self.adapter.apart(len(group)) as copies:
                found = self._losses(batch.tokens, noisy, group)
                backward(torch.stack(list(found.values())).sum())
            for number, role in enumerate(group):
                add(role, copies.gradients(number))
            losses |= {role: loss.detach() for role, loss in found.items()}
        return losses

    def _passes(self) -> list[tuple[Role, ...]]:
        return [self.roles] if self.roles_per_pass != 1 else [(role,) for role in self.roles]

    @torch.no_grad()
    def _noisy(self, batch: Example) -> Noisy:
        """Draw latents, noise and time steps, of all roles whatever the variant: all variants see the same."""
        posteriors = batch.posteriors
        if posteriors is None:
            images = cast(Tensor, batch.images)
            posteriors = posteriors_of(self.diffusion, images.flatten(0, 1)).unflatten(0, images.shape[:2])
        mean, deviation = posteriors.transpose(0, 1).unbind(2)  # (R, b, C, h, w)
        latents = (mean + deviation * torch.randn_like(mean)) * self.diffusion.vae.config.scaling_factor
        drawn = 1 if self.shared_noise else len(ROLES)
        noise = torch.randn_like(mean[:drawn]).expand_as(mean)
        steps = torch.randint(len(self.signal), (drawn, mean.shape[1]), device=mean.device).expand(mean.shape[:2])
        kept = self.signal[steps]
        of_velocity = self.diffusion.scheduler.config.prediction_type == "v_prediction"
        target = velocity(latents, noise, kept) if of_velocity else noise
        weight = min_snr_weights(kept, self.min_snr, of_velocity=of_velocity) if self.min_snr else torch.ones_like(kept)
        return Noisy(diffuse(latents, noise, kept), steps, target, weight)

    def _losses(self, tokens: Tokens, noisy: Noisy, group: Sequence[Role]) -> dict[Role, Tensor]:
        """Return the loss of every role of a group, computed in one pass."""
        numbers = [ROLES.index(role) for role in group]
        chosen = partial(_of_roles, numbers=numbers)
        words = self._encode(tokens.each(lambda part: chosen(part.unflatten(0, (len(ROLES), -1)))))
        latents, steps = chosen(noisy.latents), chosen(noisy.timestep)
        predicted = self.diffusion.unet(latents, steps, encoder_hidden_states=words, return_dict=False)[0]
        parts = predicted.unflatten(0, (len(group), -1))
        return {
            role: denoising_loss(part, noisy.target[number], noisy.weight[number])
            for role, number, part in zip(group, numbers, parts, strict=True)
        }

    def _combine(self, gradients: Mapping[str, list[Tensor]]) -> list[Tensor]:
        self.log_dict({f"train/{name}": value for name, value in self.combination.measures(gradients).items()})
        return self.combination(gradients)


def _of_roles(tensor: Tensor, numbers: Sequence[int]) -> Tensor:
    """Return the parts of some roles of ``(R, b, ...)``, one after the other."""
    return torch.cat([tensor[number] for number in numbers])
