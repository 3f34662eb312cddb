"""NeAT: style transfer as an edit of the content, judged in patches that are sorted by how much goes on in them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from lightning_modules.conditions import pad
from lightning_modules.controls import Control
from lightning_modules.errors import ImpastoError
from lightning_modules.internal_external.objectives import STYLE_HEAD_LAYER, Painted
from lightning_modules.internal_external.training import Critic, InternalExternal
from lightning_modules.losses.shared_attribute import Crops
from lightning_modules.neat.networks import LEVELS, Transform
from lightning_modules.neat.patch_pair import Patches, PatchPair, PatchSettings
from lightning_modules.neat.prior import PriorSettings, colour_statistics, content_prior
from lightning_modules.neat.settings import LossWeights
from lightning_modules.types import Manner, StyleBatch


class NeAT(InternalExternal):
    """Neural Artistic Tracing for high resolution Style Transfer (ECCV workshops 2024).

    ``I_sc = weight * prior(I_c, I_s) + D(T(E(I_c), E(I_s)))``: the decoder paints differences to the content in the
    colours of the style (section 4).

    Args:
        optimizer: Of generator and projection heads.
        discriminator_optimizer: Of the domain-level discriminator.
        scheduler: Learning-rate schedule of all, stepped every iteration.
        critic_optimizer: Of the texture critic, needed where ``loss.texture`` has a weight.
        patch_optimizer: Of the patch discriminators, needed where ``loss.patch_simple`` or ``loss.patch_complex`` has.
        levels: Layer of every PAMA block, in order.
        loudness: With what root mean square features enter a block; 0 as PAMA has it. See `PAMABlock`.
        prior: How the content prior is made.
        prior_weight: Its weight; 0 is the paper's ablation without differences, a decoder that paints everything.
        patches: Of the patch discriminators.
        loss: Weight of each term.
        **settings: See `InternalExternal`.

    Raises:
        ImpastoError: If a weight needs an optimiser that is not there, or ``loudness`` is negative.
    """

    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "prior_blur",
            1.0,
            "Blur of the content that is painted over; 1 as in training, 0 none.",
            0.0,
            2.0,
            fixed_in_graphs=True,
        ),
        Control("prior_weight", 1.0, "Share of the content prior in the picture; 1 as in training.", 0.0, 2.0),
        Control(
            "stroke_size",
            1,
            "How many times as large as in training strokes are; what lies under them keeps its detail.",
            1,
            16,
        ),
    )
    balanced: ClassVar[tuple[str, ...]] = (*InternalExternal.balanced, "patch_simple", "patch_complex")
    loss_parts: ClassVar[tuple[str, ...]] = (*InternalExternal.loss_parts, "patches")

    def __init__(
        self,
        optimizer: OptimizerCallable,
        discriminator_optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        critic_optimizer: OptimizerCallable | None = None,
        patch_optimizer: OptimizerCallable | None = None,
        *,
        levels: Sequence[str] = LEVELS,
        loudness: float = 0.0,
        prior: PriorSettings = PriorSettings(),
        prior_weight: float = 0.5,
        patches: PatchSettings = PatchSettings(),
        loss: LossWeights = LossWeights(),
        **settings: Any,
    ) -> None:
        if loudness < 0:
            raise ImpastoError(f"loudness is {loudness}, and must be at least 0, which leaves features as they are.")

        def transform(channels: Mapping[str, int]) -> Transform:
            return Transform(channels["relu4_1"], levels, loudness)

        super().__init__(
            transform, optimizer, discriminator_optimizer, scheduler, critic_optimizer, loss=loss, **settings
        )
        self.make_patch_optimizer = patch_optimizer
        self.prior = prior
        self.prior_weight = prior_weight
        self.patches: PatchPair | None = None
        if loss.patch_simple or loss.patch_complex:
            if patch_optimizer is None:
                raise ImpastoError(
                    "loss.patch_simple and loss.patch_complex train discriminators: give model.patch_optimizer, as in "
                    "neat/tiny.yaml."
                )
            self.patches = PatchPair(patches)
        self._shown: tuple[dict[str, Patches], int] | None = None

    # ------------------------------------------------------------------ painting

    def looked_at(self, content: Tensor, manner: Manner) -> Tensor:
        """Return contents as much smaller as their strokes shall be larger; see `AttentionPainter.looked_at`.

        An edit allows what a picture that is painted anew does not: the differences are enlarged, and the content prior
        that they are added to stays as sharp as it is.

        Source: ours; the paper says that strokes depend on the content's size (section 6), and leaves it at that.
        """
        times = int(manner.controls.get("stroke_size", 1))
        return content if times == 1 else F.avg_pool2d(pad(content, times * self.stride), times)

    def complete(self, decoded: Tensor, content: Tensor, style: Tensor, manner: Manner | None = None) -> Tensor:
        """Add the content prior to what the decoder returned; see `AttentionPainter.complete`."""
        asked: Mapping[str, Any] = {} if manner is None else manner.controls
        times = float(asked.get("stroke_size", 1))
        if times > 1:
            height, width = content.shape[-2:]
            decoded = F.interpolate(decoded, scale_factor=times, mode="bicubic")[..., :height, :width]
        weight = self.prior_weight * asked.get("prior_weight", 1.0)
        # Below 1 the colours go only part of the way; what lies beyond the style's own colours nobody wants.
        strength: Any = 1.0 if manner is None else manner.alpha
        blur = asked.get("prior_blur", 1.0)
        if isinstance(weight, Tensor):  # in a graph that is exported, whose user sets the numbers
            strength = strength.clamp(max=1)
            prior = content_prior(content, colour_statistics(style), settings=self.prior, blur=blur, strength=strength)
            return torch.addcmul(decoded, prior, weight)
        if not weight:
            return decoded
        prior = content_prior(
            content, colour_statistics(style), settings=self.prior, blur=blur, strength=min(strength, 1.0)
        )
        return torch.add(decoded, prior, alpha=weight)

    # ------------------------------------------------------------------ training

    def generator_terms(self, batch: StyleBatch, painted: Painted) -> dict[str, Tensor]:
        """Return every unweighted term of eq. 8 whose weight is not 0."""
        terms = super().generator_terms(batch, painted)
        if self.patches is None:
            return terms
        content = batch.content.index_select(0, painted.content)
        shown = self.patches.draw(painted.stylized, content, batch.style, painted.style)
        self._shown = (shown, self.iteration)
        terms |= self.patches.generator_terms(shown)
        return {name: term for name, term in terms.items() if getattr(self.loss, name)}

    def critics(self) -> list[Critic]:
        """Return who learns after the generator; see `InternalExternal.critics`."""
        critics = super().critics()
        if self.patches is not None and self.make_patch_optimizer is not None:
            critics.append(Critic("patches", self.patches, self._patch_loss, self.make_patch_optimizer))
        return critics

    def _patch_loss(self) -> Tensor:
        assert self.patches is not None  # noqa: S101 - a critic, so it is there
        assert self._shown is not None  # noqa: S101 - generator_terms() came first
        return self.patches.loss(*self._shown)

    def _crops(self, batch: StyleBatch) -> Crops | None:
        if batch.views is None:
            raise ImpastoError("NeAT contrasts stylisations with crops of their styles: set data.style_views to 2.")
        count = batch.views.shape[1]
        with torch.no_grad():
            maps = self.encoder(batch.views.flatten(0, 1), (STYLE_HEAD_LAYER,))
        styles = torch.arange(len(batch.style), device=self.device).repeat_interleave(count)
        return Crops(self.style_head(maps[STYLE_HEAD_LAYER]), styles)
