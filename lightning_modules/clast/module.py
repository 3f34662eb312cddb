"""CLAST: one feed-forward network that paints in the manner of an artist's name or of a style image."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lightning_modules.base import StyleTransferModule
from lightning_modules.clast.mixtures import Mixture, draw_mixture
from lightning_modules.clast.networks import Decoder, MixerName, StyleFusion
from lightning_modules.clast.patches import HostPerspective, random_squares
from lightning_modules.clast.prompts import BARE, SOURCE_PROMPT, TEMPLATES
from lightning_modules.clast.prototypes import Prototypes
from lightning_modules.clast.settings import LossWeights, Patches
from lightning_modules.clast.style_code import PromptEncoder, StyleCode
from lightning_modules.conditions import check_conditions, pad
from lightning_modules.controls import Value, preset
from lightning_modules.errors import ImpastoError
from lightning_modules.losses.content import Shown, shrunken_content_loss
from lightning_modules.losses.contrastive import supervised_contrastive_loss
from lightning_modules.losses.directional_clip import directional_clip_loss
from lightning_modules.losses.distributed import gather_with_gradient
from lightning_modules.losses.style import style_loss
from lightning_modules.losses.total_variation import total_variation
from lightning_modules.networks.decoder_layer import Norm
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.selective_scan import ScanOrder
from lightning_modules.networks.texture_critic import Exhibit, TextureCritic
from lightning_modules.optim.balance import GradientBalance
from lightning_modules.optim.decay import decay_groups
from lightning_modules.optim.schedule import scheduled
from lightning_modules.portable import Given, Graph, Painting, fixed, numbers, picture
from lightning_modules.types import Condition, Manner, StyleBatch
from lightning_modules.weights import (
    VGGVariant,
    WeightsSource,
    load_clip,
    load_lpips,
    load_vgg,
    need_clip,
    need_lpips,
    need_vgg,
    resolve,
)

LEVELS = ("relu3_1", "relu4_1", "relu5_1")
STYLE_LAYERS = ("relu1_1", "relu2_1", *LEVELS)
TEXTURE_LAYERS = STYLE_LAYERS[:4]
"""What the texture critic looks at. Above it a training crop is a handful of places."""
BALANCED = ("content", "style", "clip", "clip_patch", "contrastive", "lpips", "tv", "texture")
"""Terms of the stylised pictures. ``identity`` pulls at pictures of its own: there is nothing to balance it against."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Seen(NamedTuple):
    """What the frozen networks make of a batch before anything is painted.

    Attributes:
        content: VGG maps of the contents.
        style: VGG maps of the style pictures.
        embedded: ``(2 B, D)`` or ``(3 B, D)``, CLIP vectors of contents, style pictures and references.
        texts: ``(B, D)``, CLIP vectors of the artists' sentences.
        mixture: The second manner of each sample, where there is one.
    """

    content: dict[str, Tensor]
    style: dict[str, Tensor]
    embedded: Tensor
    texts: Tensor
    mixture: Mixture | None


class CLAST(StyleTransferModule):
    """Contrastive Learning for Artist Style Transfer (arXiv 2410.09566).

    Args:
        optimizer: Optimiser of everything that is trained but the critic.
        scheduler: Learning-rate schedule, stepped every iteration.
        critic_optimizer: Optimiser of the texture critic, needed where ``loss.texture`` has a weight.
        weights: Where the frozen encoder and CLIP come from.
        clip_model: open_clip's name of the pretrained CLIP.
        variant: ``paper`` is the released code with its quirks, so that its checkpoint paints here as there;
            ``impasto`` repairs what erases the style. The package's README has every difference.
        widths: Channels of the three fused levels.
        decoder_width: Channels of the decoder at relu3_1's resolution.
        decoder_norm: What normalises the decoder's layers, see `DecoderLayer`; None is ``instance`` for the variant
            ``paper`` and ``styled`` for ``impasto``.
        skips: Channels of the decoder's shallow skips; 0 for none, as in the paper.
        noise: Whether the decoder has noise to make texture of; not in the paper.
        mixer: The scan of the fusion blocks; None is ``mamba1`` for the variant ``paper`` and ``ssd`` for ``impasto``.
        scan: Its directions.
        loss: Weight of each loss term.
        patches: Crops of the patch-wise directional loss.
        content_layers: Layers of the content loss.
        content_scales: The content loss is a mean over pictures shrunk by these factors; 1 alone in the paper. Where
            brush strokes are as large as things, shrunken pictures show the things and not the strokes.
        temperature: Of the supervised contrast.
        effective_batch: Stylised pictures of several batches and of all ranks that are contrasted with each other and
            share a step: logit accumulation, in the memory of one batch. None takes a batch of all ranks.
        text_fraction: Share of training samples that are conditioned on text, the rest on the style image.
        identity_fraction: Share of the batch, at least one picture, that is also reconstructed with the content as its
            own style; 0 for none.
        mixture_fraction: Share of the batch that is painted in the manners of two artists at once, for prompts of
            several weighted clauses.
        prototype_shrinkage: Paintings that an artist's name is worth in `Prototypes`, which then stand for the names
            of the training artists; 0 for none, as in the paper.
        balance_every: Iterations between two measurements of the loss terms' gradients.
        balance_until: Iteration after which the balance is held; 0 takes the weights as they are.
        clip: See `StyleTransferModule`.
        accumulate: See `StyleTransferModule`.
        validate_with: See `StyleTransferModule`.
        controls: See `StyleTransferModule`.
    """

    conditions: ClassVar[frozenset[Condition]] = frozenset({"image", "text"})
    loss_parts: ClassVar[tuple[str, ...]] = ("proj", "balance", "critic")
    output_mean: Tensor
    output_std: Tensor

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        critic_optimizer: OptimizerCallable | None = None,
        *,
        weights: WeightsSource = "auto",
        clip_model: str = "ViT-B-32",
        variant: Literal["paper", "impasto"] = "impasto",
        widths: tuple[int, int, int] = (64, 128, 320),
        decoder_width: int = 256,
        decoder_norm: Norm | None = None,
        skips: int = 0,
        noise: bool = False,
        mixer: MixerName | None = None,
        scan: ScanOrder = "unidi",
        loss: LossWeights = LossWeights(),
        patches: Patches = Patches(),
        content_layers: Sequence[str] = ("relu4_1", "relu5_1"),
        content_scales: Sequence[int] = (1,),
        temperature: float = 0.07,
        effective_batch: int | None = None,
        text_fraction: float = 0.5,
        identity_fraction: float = 0.0,
        mixture_fraction: float = 0.0,
        prototype_shrinkage: float = 0.0,
        balance_every: int = 20,
        balance_until: int = 2000,
        clip: float | None = None,
        accumulate: int = 1,
        validate_with: Condition = "text",
        controls: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(clip=clip, accumulate=accumulate, validate_with=validate_with, controls=controls)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.make_critic_optimizer = critic_optimizer
        self.variant = variant
        self.loss = loss
        self.patches = patches
        self.content_layers = tuple(content_layers)
        self.content_scales = tuple(content_scales)
        self.temperature = temperature
        self.effective_batch = effective_batch
        self.text_fraction = text_fraction
        self.identity_fraction = identity_fraction
        self.mixture_fraction = mixture_fraction
        self.noise = noise

        paper = variant == "paper"
        vgg: VGGVariant = "vgg19_normalised" if paper else "vgg19"
        needs = [need_vgg(vgg), need_clip(clip_model), *([need_lpips()] if loss.lpips else [])]
        self.weights = self.settled["weights"] = resolve(weights, *needs)
        self.encoder = load_vgg(self.weights, variant=vgg)
        self.clip_encoder = load_clip(self.weights, model=clip_model)
        self.perceptual: FrozenNetwork | None = None
        channels, style_dim = self.encoder.channels, self.clip_encoder.embed_dim
        self.style_code = StyleCode(style_dim, centred=not paper)
        self.fusion = StyleFusion(
            [channels[name] for name in LEVELS],
            widths,
            style_dim,
            mixer=mixer or ("mamba1" if paper else "ssd"),
            order=scan,
            zero_init=not paper,
        )
        self.decoder = Decoder(
            widths,
            decoder_width,
            decoder_norm or ("instance" if paper else "styled"),
            style_dim,
            skips=skips,
            skip_channels=[channels[name] for name in STYLE_LAYERS[:2]],
            noise=noise,
        )
        self.proj = nn.Linear(style_dim, style_dim)
        self.critic: TextureCritic | None = None
        if loss.texture:
            if critic_optimizer is None:
                raise ImpastoError("loss.texture trains a critic: give model.critic_optimizer, as in clast/tiny.yaml.")
            self.critic = TextureCritic({name: channels[name] for name in TEXTURE_LAYERS}, style_dim)
        self.balance = GradientBalance(
            [name for name in BALANCED if getattr(loss, name)], every=balance_every, until=balance_until
        )
        self.prototypes = Prototypes(prototype_shrinkage) if prototype_shrinkage else None
        self.prompts = PromptEncoder(self.clip_encoder, BARE if paper else TEMPLATES)
        self.perspective = HostPerspective(patches.distortion)
        self.register_buffer("output_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("output_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    # ------------------------------------------------------------------ painting

    def encode(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return VGG features of images ``(B, 3, H, W)`` in [0, 1], by layer name."""
        if self.variant == "paper":
            # The released code normalises for ImageNet although its VGG expects plain RGB.
            images = (images - self.output_mean) / self.output_std
        features: dict[str, Tensor] = self.encoder(images, layers)
        return features

    def paint(self, features: Mapping[str, Tensor], code: Tensor, seed: Tensor | None = None) -> Tensor:
        """Decode pictures, ``(B, 3, H, W)``, unbounded RGB.

        Args:
            features: Of the contents, from `content_features`.
            code: Style codes, ``(B, D)``.
            seed: Of the noise, ``(B,)``, int64; by default 0.
        """
        fused = self.fusion([features[name] for name in LEVELS], code)
        shallow = [features[name] for name in STYLE_LAYERS[:2]] if self.decoder.skips is not None else ()
        picture: Tensor = self.decoder(fused, code, shallow, seed)
        return picture * self.output_std + self.output_mean

    def content_features(self, content: Tensor) -> dict[str, Tensor]:
        """Return the features of the content that `paint` needs."""
        return self.encode(content, STYLE_LAYERS if self.decoder.skips is not None else LEVELS)

    def image_code(self, images: Tensor) -> Tensor:
        """Return style codes ``(B, D)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        return cast(Tensor, self.style_code(self.clip_encoder.encode_image(images), "image"))

    def text_code(self, prompts: Sequence[str]) -> Tensor:
        """Return style codes ``(B, D)`` of prompts, which may carry weighted clauses."""
        return torch.stack([self.prompts.code(prompt, self._clause_code, self.style_code) for prompt in prompts])

    def _clause_code(self, clause: str) -> Tensor:
        label = self.prototypes.label(clause) if self.prototypes is not None else None
        if label is None:
            return cast(Tensor, self.style_code(self.prompts.ensemble(clause)[None], "text")[0])
        return cast(Tensor, self.style_code(self._prototypes(torch.tensor([label], device=self.device)), "image")[0])

    def _prototypes(self, artist: Tensor) -> Tensor:
        assert self.prototypes is not None  # noqa: S101 - asked before
        return cast(Tensor, self.prototypes(artist, self.style_code.image_mean - self.style_code.text_mean))

    def _render(self, content: Tensor, manner: Manner) -> Tensor:
        prompt, style = manner.prompt, manner.style
        code = self.text_code(prompt) if prompt is not None else self.image_code(cast(Tensor, style))
        if manner.alpha != 1:
            code = torch.lerp(self.image_code(content), code, manner.alpha)
        return self.paint(self.content_features(content), code)

    def portable(
        self, by: Condition, controls: Mapping[str, Value] | None = None, prompts: Sequence[str] = ()
    ) -> Graph:
        """Return the network of tensors alone; by ``text`` it takes style codes, and knows those of the prompts.

        A style picture goes through CLIP inside the graph; words do not, for that takes a tokenizer.
        """
        check_conditions(type(self).__name__, self.conditions, self.requires, frozenset({by}))
        offered = preset(self.offered, controls, type(self).__name__)
        with torch.no_grad():
            codes = {name: self.text_code([name])[0].tolist() for name in prompts}
        code = Given(
            "code",
            (1, self.style_code.dim),
            "A style: what the metadata `codes` has for a name",
            low=-math.inf,
            high=math.inf,
        )
        style = code if by == "text" else picture("style", "A painting to follow")
        inputs = (picture("content", "What to paint"), style, *numbers(offered))

        def paint(content: Tensor, alpha: Tensor, style: Tensor | None = None, code: Tensor | None = None) -> Tensor:
            content, alpha = pad(content, self.stride), alpha[0]
            goal = self.image_code(style) if style is not None else cast(Tensor, code)
            code = torch.lerp(self.image_code(content), goal, alpha)  # CLIP is a small part of the work
            return self.paint(self.content_features(content), code)

        return Graph(Painting(self, paint, inputs), inputs, fixed(offered), codes)

    # ------------------------------------------------------------------ training

    def load_loss_networks(self) -> None:
        """Load LPIPS, where it has a weight."""
        if self.loss.lpips and self.perceptual is None:
            self.perceptual = load_lpips(self.weights)

    def on_fit_start(self) -> None:
        """Take the mean text vector from the artists of the training data."""
        data = getattr(self.trainer, "datamodule", None)
        artists = getattr(data, "artists", None)
        if not artists:
            return
        if self.style_code.centred:
            texts = [template.format(name) for name in artists for template in TEMPLATES]
            self.style_code.set_text_mean(self.prompts(texts))
        if self.prototypes is not None:
            names = torch.stack([self.prompts.ensemble(name) for name in artists])
            self.prototypes.start(artists, names, getattr(data, "paintings_per_artist", [1] * len(artists)))

    def training_step(self, batch: StyleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """One iteration of the generator and, where there is one, of the critic on the same pictures."""
        for part in self.parts_to_embed(batch, len(batch.content)):
            self._embed(part)
        for part in self.parts_to_train(batch):
            self._train(part)

    @torch.no_grad()
    def _embed(self, batch: StyleBatch) -> None:
        """Paint a part of an effective batch, and let the contrast see it."""
        seen = self._look_at(batch)
        stylized = self._stylize_and_reconstruct(batch, seen)[: len(batch.content)]
        self._contrastive_terms(batch, self.clip_encoder.encode_image(stylized), seen)

    def _train(self, batch: StyleBatch) -> None:
        optimizer, *critics = self._optimizers()
        with self.optimizing(optimizer) as backward:
            terms, pictures = self.loss_terms(batch)
            first = self.contrasts.number == 0
            weights = self.balance.weigh(vars(self.loss), terms, pictures, self.iteration, first=first)
            total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
            backward(total)
        self.log_terms({**terms, "total": total})
        self.log_dict({f"weight/{name}": weight for name, weight in weights.items()})
        if self.critic is not None:
            with self.optimizing(critics[0]) as backward:
                loss = self.critic.loss()
                backward(loss)
            self.log_terms({"critic": loss})

    def loss_terms(self, batch: StyleBatch) -> tuple[dict[str, Tensor], Tensor]:
        """Return every unweighted term whose weight is not 0, and the pictures that the terms judge.

        The pictures, ``(B + R, 3, H, W)``, are the stylised batch and then the R reconstructions of ``identity``.
        """
        size = len(batch.content)
        seen = self._look_at(batch)
        pictures = self._stylize_and_reconstruct(batch, seen)
        stylized, reconstructed = pictures[:size], pictures[size:]
        painted = self.encode(stylized, STYLE_LAYERS)
        target = seen.style if seen.mixture is None else seen.mixture.style_statistics(seen.style)
        terms = {
            "content": shrunken_content_loss(
                lambda pictures: self.encode(pictures, self.content_layers),
                Shown(stylized, painted),
                Shown(batch.content, seen.content),
                self.content_layers,
                self.content_scales,
                total=self.variant == "paper",  # the public code sums over layers
            ),
            "style": style_loss(painted, target),
        }
        terms |= self._clip_terms(batch, stylized, seen)
        if self.loss.lpips:
            assert self.perceptual is not None  # noqa: S101 - load_loss_networks() came first
            terms["lpips"] = self.perceptual(stylized, batch.content).mean()
        if len(reconstructed):
            terms["identity"] = F.l1_loss(reconstructed, batch.content[: len(reconstructed)])
        if self.loss.tv:
            terms["tv"] = total_variation(stylized)
        if self.critic is not None:
            terms["texture"] = self._texture_term(batch, painted, seen)
        return {name: term for name, term in terms.items() if getattr(self.loss, name)}, pictures

    @torch.no_grad()
    def _look_at(self, batch: StyleBatch) -> Seen:
        size = len(batch.content)
        known = self.encode(torch.cat([batch.content, batch.style]), STYLE_LAYERS)
        paintings = [batch.style] if batch.reference is None else [batch.style, batch.reference]
        embedded = self.clip_encoder.encode_image(torch.cat([batch.content, *paintings]))
        if not self.contrasts.active:
            self._learn_paintings(batch.artist, embedded[size : 2 * size])
        return Seen(
            content={name: features[:size] for name, features in known.items()},
            style={name: features[size:] for name, features in known.items()},
            embedded=embedded,
            texts=self.prompts(self._sentences(batch.prompt)),
            mixture=draw_mixture(size, self.mixture_fraction, self.device) if self.mixture_fraction else None,
        )

    @torch.no_grad()
    def learn_statistics(self, batch: StyleBatch) -> None:
        """Learn the mean painting and the artists' prototypes."""
        if self.prototypes is not None or not self.style_code.settled:
            self._learn_paintings(batch.artist, self.clip_encoder.encode_image(batch.style))

    def _learn_paintings(self, artist: Tensor, embeddings: Tensor) -> None:
        if self.style_code.settled and self.prototypes is None:
            return
        embeddings = gather_with_gradient(embeddings)
        self.style_code.update_image_mean(embeddings)
        if self.prototypes is not None:
            self.prototypes.update(gather_with_gradient(artist), embeddings)

    def _stylize_and_reconstruct(self, batch: StyleBatch, seen: Seen) -> Tensor:
        size = len(batch.content)
        by_text = torch.rand(size, 1, device=self.device) < self.text_fraction
        by_image = self.style_code(seen.embedded[size : 2 * size], "image")
        code = torch.where(by_text, self._named_code(batch, seen), by_image)
        code = code if seen.mixture is None else seen.mixture.blend(code)
        own = max(1, round(self.identity_fraction * size)) if self.loss.identity and self.identity_fraction else 0
        if not own:
            return self.paint(seen.content, code, self._draw_seeds(size))
        features = {name: torch.cat([map_, map_[:own]]) for name, map_ in seen.content.items()}
        codes = torch.cat([code, self.style_code(seen.embedded[:own], "image")])
        return self.paint(features, codes, self._draw_seeds(size + own))

    def _draw_seeds(self, count: int) -> Tensor | None:
        return torch.randint(2**31, (count,), device=self.device) if self.noise else None

    def _named_code(self, batch: StyleBatch, seen: Seen) -> Tensor:
        if self.prototypes is None:
            return cast(Tensor, self.style_code(seen.texts, "text"))
        return cast(Tensor, self.style_code(self._prototypes(batch.artist), "image"))

    def _texture_term(self, batch: StyleBatch, painted: Mapping[str, Tensor], seen: Seen) -> Tensor:
        assert self.critic is not None  # noqa: S101 - asked before
        asked = named = cast(Tensor, self.style_code(seen.texts, "text"))
        if seen.mixture is not None:
            asked = seen.mixture.blend(named)
        return self.critic.adversary(Exhibit(painted, asked), Exhibit(seen.style, named), batch.artist)

    def _clip_terms(self, batch: StyleBatch, stylized: Tensor, seen: Seen) -> dict[str, Tensor]:
        out = self.clip_encoder.encode_image(stylized)
        terms = {"clip": self._directional(out, seen, 1)}
        if self.loss.clip_patch:
            patches = self.clip_encoder.encode_image(self.perspective(self._patches(stylized)))
            terms["clip_patch"] = self._directional(patches, seen, self.patches.count, self.patches.threshold)
        return terms | self._contrastive_terms(batch, out, seen)

    def _contrastive_terms(self, batch: StyleBatch, out: Tensor, seen: Seen) -> dict[str, Tensor]:
        if not self.loss.contrastive:
            return {}
        mixed = 0 if seen.mixture is None else seen.mixture.mixed
        views = [out[mixed:], *seen.embedded[len(out) :].split(len(out)), seen.texts]
        labels = [batch.artist[mixed:], *[batch.artist] * (len(views) - 1)]
        if self.prototypes is not None:
            views, labels = [*views, self._prototypes(batch.artist)], [*labels, batch.artist]
        return {"contrastive": self.contrasts("contrastive", self._contrast, torch.cat(views), torch.cat(labels))}

    def _directional(self, out: Tensor, seen: Seen, copies: int, threshold: float | None = None) -> Tensor:
        """Return directional CLIP of ``copies`` views of every picture; a mixture owes each clause its share."""
        source = self.prompts([SOURCE_PROMPT])
        content = seen.embedded[: len(out) // copies].repeat(copies, 1)

        def towards(texts: Tensor) -> Tensor:
            loss = directional_clip_loss(out, content, texts.repeat(copies, 1), source, threshold)
            return loss.view(copies, -1).mean(0)

        own = towards(seen.texts)
        if seen.mixture is None:
            return own.mean()
        return torch.lerp(towards(seen.texts[seen.mixture.partner]), own, seen.mixture.weight.flatten()).mean()

    def _contrast(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        z = F.normalize(self.proj(embeddings), dim=-1)
        return supervised_contrastive_loss(
            gather_with_gradient(z), gather_with_gradient(labels), temperature=self.temperature
        )

    def _patches(self, images: Tensor) -> Tensor:
        return random_squares(images, self.patches.count, self.patches.size)

    def _sentences(self, names: Sequence[str]) -> list[str]:
        choices = torch.randint(len(TEMPLATES), (len(names),)).tolist()
        return [TEMPLATES[choice].format(name) for choice, name in zip(choices, names, strict=True)]

    def configure_optimizers(self) -> list[Any]:
        """One optimiser for all but the critic, one for it; weight decay spares biases, norms and scan constants."""
        critic = set() if self.critic is None else set(self.critic.parameters())
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad and p not in critic]
        optimizers = [self.make_optimizer(decay_groups(trained, spared="A_log"))]
        if self.critic is not None and self.make_critic_optimizer is not None:
            optimizers.append(self.make_critic_optimizer(self.critic.parameters()))
        return scheduled(optimizers, self.make_scheduler)
