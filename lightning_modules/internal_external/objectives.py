"""What a batch of stylised pictures owes: internal losses, external adversaries, contrast between stylisations."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.internal_external.painting import AttentionPainter
from lightning_modules.internal_external.settings import LossWeights
from lightning_modules.losses.adversarial import least_squares, log_likelihood
from lightning_modules.losses.content import Shown, shrunken_content_loss
from lightning_modules.losses.contrastive import supervised_contrastive_loss
from lightning_modules.losses.distributed import gather_with_gradient, rank_offset
from lightning_modules.losses.euclidean import euclidean
from lightning_modules.losses.shared_attribute import Crops, shared_attribute_loss
from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.losses.style import style_loss
from lightning_modules.networks.multi_scale_discriminator import MultiScaleDiscriminator
from lightning_modules.networks.projection_head import ProjectionHead
from lightning_modules.networks.texture_critic import Exhibit, TextureCritic, painter_codes
from lightning_modules.types import StyleBatch

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
TEXTURE_LAYERS = LAYERS[:4]
"""What the texture critic looks at. Above it a training crop is a handful of places."""
PAINTER_CODE = 512
"""Length of the vector by which the critic knows a painter."""
STYLE_HEAD_LAYER, CONTENT_HEAD_LAYER = "relu3_1", "relu4_1"
PAPER_CONTENT_LAYER = "conv4_2"
Variant = Literal["paper", "reference"]


class Painted(NamedTuple):
    """One generator pass over a batch, with h contents, h styles and b = 2 h stylised pictures.

    Attributes:
        known: Features of the 2 h unique inputs, contents first.
        references: Features of other paintings by the painters of the h styles, where the critic looks at them.
        content: Number of the content of each stylised picture, ``(b,)``.
        style: Number of the style of each stylised picture, ``(b,)``.
        own: Numbers of the unique inputs that are also painted with themselves as style, ``(n,)``.
        stylized: ``(b, 3, H, W)``.
        identity: ``(n, 3, H, W)``, the inputs ``own`` painted so.
        manner: Vectors of the h styles, ``(h, manner)``, where there are such.
    """

    known: dict[str, Tensor]
    references: dict[str, Tensor]
    content: Tensor
    style: Tensor
    own: Tensor
    stylized: Tensor
    identity: Tensor
    manner: Tensor | None


class Objectives(AttentionPainter):
    """The terms of the losses by name, of a batch that has been painted.

    A subclass sets what they look through.
    """

    variant: Variant
    loss: LossWeights
    content_layers: tuple[str, ...]
    content_scales: tuple[int, ...]
    temperature: float
    gather: bool
    style_head: ProjectionHead
    content_head: ProjectionHead
    discriminator: MultiScaleDiscriminator | None
    critic: TextureCritic | None

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
        inputs = _take(torch.cat([batch.content, batch.style]), painted.own)
        judged = torch.cat([painted.stylized, painted.identity])
        features = self.encoder(judged, self._loss_layers())
        # Split, not sliced: the gradient of a slice is a whole map, mostly zeros.
        parts = {name: maps.split([size, len(painted.identity)]) for name, maps in features.items()}
        stylized, identity = ({name: part[which] for name, part in parts.items()} for which in range(2))
        terms = {"style": self._style_term(stylized, painted), "content": self._content_term(batch, stylized, painted)}
        terms |= self._identity_terms(inputs, identity, painted)
        terms |= self._contrast_terms(batch, stylized, painted)
        if self.discriminator is not None:
            scores = self.discriminator(painted.stylized)
            # Eq. 2 to the letter saturates; least squares does not.
            paper = self.variant == "paper"
            terms["adversarial"] = -log_likelihood(scores, False) if paper else least_squares(scores, True)
        if self.critic is not None:
            terms["texture"] = self._texture_term(batch, stylized, painted)
        terms |= self._manner_terms(batch, painted)
        return {name: term for name, term in terms.items() if getattr(self.loss, name)}

    def _style_term(self, stylized: Mapping[str, Tensor], painted: Painted) -> Tensor:
        half = len(painted.stylized) // 2
        target = {}
        for name in LAYERS:
            mean, std = channel_statistics(painted.known[name][half:])
            target[name] = (mean[painted.style], std[painted.style])
        return style_loss({name: stylized[name] for name in LAYERS}, target, distance=self._distance)

    def _content_term(self, batch: StyleBatch, stylized: Mapping[str, Tensor], painted: Painted) -> Tensor:
        if self.variant == "paper":
            return euclidean(stylized[PAPER_CONTENT_LAYER], painted.known[PAPER_CONTENT_LAYER][painted.content])
        return shrunken_content_loss(
            lambda pictures: self.encoder(pictures, self.content_layers),
            Shown(painted.stylized, stylized),
            Shown(batch.content, painted.known),
            self.content_layers,
            self.content_scales,
            total=True,  # the public code sums over layers
            shown=painted.content,
        )

    def _texture_term(self, batch: StyleBatch, stylized: Mapping[str, Tensor], painted: Painted) -> Tensor:
        assert self.critic is not None  # noqa: S101 - asked before
        half, whose = len(batch.style), batch.artist
        codes = painter_codes(whose, PAINTER_CODE).to(batch.style)
        asked = Exhibit(stylized, codes[painted.style])
        paintings = {name: painted.known[name][half:] for name in TEXTURE_LAYERS}
        if painted.references:
            paintings = {name: torch.cat([maps, painted.references[name]]) for name, maps in paintings.items()}
            codes, whose = codes.repeat(2, 1), whose.repeat(2)
        return self.critic.adversary(asked, Exhibit(paintings, codes), whose)

    def _manner_terms(self, batch: StyleBatch, painted: Painted) -> dict[str, Tensor]:
        if not self.loss.manner_contrast:
            return {}
        assert painted.manner is not None  # noqa: S101 - asked when the module was made
        assert self.generator.manner is not None  # noqa: S101
        vectors, whose = painted.manner, batch.artist
        if painted.references:
            vectors, whose = torch.cat([vectors, self.generator.manner(painted.references)]), whose.repeat(2)
        return {"manner_contrast": self.contrasts("manner_contrast", self._manner_contrast, vectors, whose)}

    def _manner_contrast(self, vectors: Tensor, whose: Tensor) -> Tensor:
        if self.gather:
            vectors, whose = gather_with_gradient(vectors), gather_with_gradient(whose)
        return supervised_contrastive_loss(F.normalize(vectors, dim=-1), whose, temperature=self.temperature)

    def _identity_terms(self, inputs: Tensor, identity: Mapping[str, Tensor], painted: Painted) -> dict[str, Tensor]:
        # The sum of a mean over contents and a mean over styles is twice the mean over both.
        feature_terms = [self._distance(identity[name], _take(painted.known[name], painted.own)) for name in LAYERS]
        return {
            "identity_image": 2 * self._distance(painted.identity, inputs),
            "identity_feature": 2 * torch.stack(feature_terms).sum(),
        }

    def _contrast_terms(self, batch: StyleBatch, stylized: Mapping[str, Tensor], painted: Painted) -> dict[str, Tensor]:
        if not (self.loss.style_contrast or self.loss.content_contrast):
            return {}
        style = self.style_head(stylized[STYLE_HEAD_LAYER])
        content = self.content_head(stylized[CONTENT_HEAD_LAYER])
        crops = self._crops(batch) if self.loss.style_contrast else None
        first = self.contrasts.number * len(style)  # other parts of an effective batch have other contents and styles
        styles, contents = painted.style + first, painted.content + first
        true = () if crops is None else (crops.z, crops.style + first)
        return {
            "style_contrast": self.contrasts("style_contrast", self._contrast, style, styles, contents, *true),
            "content_contrast": self.contrasts("content_contrast", self._contrast, content, contents, styles),
        }

    def _contrast(self, z: Tensor, shared: Tensor, other: Tensor, *true: Tensor) -> Tensor:
        crops = Crops(*true) if true else None
        if self.gather:
            offset = rank_offset(len(z), z.device)
            z, shared, other = (gather_with_gradient(rows) for rows in (z, shared + offset, other + offset))
            if crops is not None:
                crops = Crops(gather_with_gradient(crops.z), gather_with_gradient(crops.style + offset))
        how: Literal["mean", "sum"] = "mean" if self.variant == "paper" else "sum"
        return shared_attribute_loss(z, shared, other, crops=crops, temperature=self.temperature, reduction=how)

    def _crops(self, batch: StyleBatch) -> Crops | None:  # noqa: ARG002 - for those who compare with the styles too
        """Return what of the style pictures themselves takes part in the contrast of styles: by default nothing."""
        return None

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return euclidean(a, b) if self.variant == "paper" else F.mse_loss(a, b)

    def _loss_layers(self) -> tuple[str, ...]:
        return LAYERS if self.variant == "reference" else (*LAYERS, PAPER_CONTENT_LAYER)


def _take(inputs: Tensor, numbers: Tensor) -> Tensor:
    """Return ``inputs[numbers]`` without a copy where that is all of them."""
    return inputs if len(numbers) == len(inputs) else inputs[numbers]
