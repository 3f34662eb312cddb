"""One iteration of LEAST: N networks, each fitted to its own picture, region and words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import torch
from torch import Tensor
from torch.func import functional_call

from lightning_modules.least.canvas import (
    Box,
    box_of,
    frame_of,
    into_picture,
    mask_onto_canvas,
    onto_canvas,
)
from lightning_modules.least.jobs import Jobs, Order, crops, normalised_once_more
from lightning_modules.least.lens import Lens
from lightning_modules.least.losses import feature_distance, over_patches, rough_norms
from lightning_modules.least.networks import STRIDE, StyleUNet
from lightning_modules.least.patches import Draw, cut, draw, places
from lightning_modules.least.settings import Canvas, LossWeights, Patches, Schedule, Structure
from lightning_modules.least.templates import IMAGENET
from lightning_modules.losses.directional_clip import directional_clip_loss
from lightning_modules.losses.precision import without_autocast

Begin = Callable[[Tensor, Sequence[str]], Tensor]
"""Paints ``(N, 3, S, S)`` by N prompts, for a start."""
LOGIT_ROOM = 0.02  # of [0, 1]: a start that is black or white could not be painted over


@dataclass(frozen=True)
class Plan:
    """How jobs are fitted; see `LEAST` for what the fields mean."""

    loss: LossWeights = LossWeights()
    canvas: Canvas = Canvas()
    patches: Patches = Patches()
    structure: Structure = Structure()
    schedule: Schedule = Schedule()
    templates: Sequence[str] = IMAGENET
    source: str = "a Photo"
    drop_style_word: bool = False
    double_normalise: bool = False
    contrast: float = 1.0
    residual: float = 0.0


@dataclass
class Fitting:
    """Fits networks to jobs.

    Args:
        lens: The frozen networks.
        plan: How.
        begin: Paints where the fit begins; None begins with noise, whatever ``plan.residual`` says.
    """

    lens: Lens
    plan: Plan
    begin: Begin | None = None
    _words: dict[str, Tensor] = field(default_factory=dict)

    # ------------------------------------------------------------------ before the first iteration

    @torch.no_grad()
    def prepare(self, order: Order) -> Jobs:
        """Compute all that no iteration changes.

        Raises:
            ImpastoError: If a mask is empty.
        """
        plan, side = self.plan, self.plan.canvas.size
        frames = [frame_of(mask, plan.canvas, order.context, side) for mask in order.mask]
        contents = [onto_canvas(image, frame, side) for image, frame in zip(order.content, frames, strict=True)]
        masks = [
            mask_onto_canvas(mask, frame, side, plan.canvas.mask_resize)
            for mask, frame in zip(order.mask, frames, strict=True)
        ]
        content, mask = torch.stack(contents), torch.stack(masks)
        seen = normalised_once_more(content) if plan.double_normalise else content
        regions = [box_of(each, plan.canvas.solid) for each in mask]
        boxes = [_one_short(region) for region in regions] if plan.structure.one_short else regions
        squares = self.lens.for_clip(torch.cat([seen, seen * mask]))
        whole, masked = self.lens.embed(squares).chunk(2)
        return Jobs(
            order=order,
            frames=frames,
            content=content,
            seen=seen,
            begin=self._begun(content, order.prompts),
            mask=mask,
            boxes=boxes,
            places=[places(each, region, plan.patches) for each, region in zip(mask, regions, strict=True)],
            words=torch.cat([self._vector(self._cleaned(prompt)) for prompt in order.prompts]).to(content),
            plain=self._vector(plan.source).to(content),
            whole=whole,
            masked=masked,
            maps=self.lens.maps(crops(seen, boxes, plan.structure.size), plan.structure.layers),
            box_masks=crops(mask, boxes, plan.structure.size),
        )

    def _begun(self, content: Tensor, prompts: Sequence[str]) -> Tensor | None:
        if not self.plan.residual or self.begin is None:
            return None
        return self.begin(content, prompts).clamp(LOGIT_ROOM, 1 - LOGIT_ROOM)

    def _cleaned(self, prompt: str) -> str:
        return prompt.lower().replace("style", "") if self.plan.drop_style_word else prompt

    def _vector(self, text: str) -> Tensor:
        if text not in self._words:
            self._words[text] = self.lens.words(text, self.plan.templates)
        return self._words[text]

    # ------------------------------------------------------------------ one iteration

    def terms(self, network: StyleUNet, jobs: Jobs, iteration: int) -> dict[str, Tensor]:
        """Return every unweighted term that has a weight, ``(N,)`` each, of one iteration.

        Args:
            network: Its first N networks are the jobs'.
            jobs: As of `prepare`.
            iteration: Of these jobs, from 0; together with their seed it decides which patches are looked at.
        """
        with without_autocast(jobs.content):  # what may be less precise, the lens knows
            painted = finished(network(jobs.seen), jobs.begin, self.plan.residual)
            return self.terms_of(painted, jobs, self.draws(jobs, iteration))

    def draws(self, jobs: Jobs, iteration: int) -> list[Draw]:
        """Return the patches of one iteration, of every job."""
        seed = _mixed(jobs.order.seed, iteration)
        return [draw(where, self.plan.patches, torch.Generator().manual_seed(seed)) for where in jobs.places]

    def terms_of(self, painted: Tensor, jobs: Jobs, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """Return every unweighted term that has a weight, ``(N,)`` each, of painted canvases ``(N, 3, S, S)``."""
        loss, structure = self.plan.loss, self.plan.structure
        region = painted * jobs.mask
        terms = self._clip_terms(painted, region, jobs, draws)
        if loss.content:
            maps = self.lens.maps(crops(painted, jobs.boxes, structure.size), structure.layers)
            mask = jobs.box_masks if structure.masked else None
            terms["content"] = feature_distance(maps, jobs.maps, structure.distance, mask)
        if loss.tv:
            terms["tv"] = rough_norms(region)
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return eq. 5 of every job, ``(N,)``."""
        return torch.stack([getattr(self.plan.loss, name) * term for name, term in terms.items()]).sum(0)

    def _clip_terms(self, painted: Tensor, region: Tensor, jobs: Jobs, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """Return eq. 1 and 2: patches and regions of all jobs go through CLIP in one call."""
        plan, count = self.plan, self.plan.patches.count
        wanted = [plan.loss.patch != 0, plan.loss.direction != 0]
        shown = torch.lerp(jobs.content, painted, jobs.mask) if plan.patches.composite else painted
        squares = [self._squares(shown, draws)] if wanted[0] else []
        squares += [self.lens.for_clip(region)] if wanted[1] else []
        if not squares:
            return {}
        vectors = self.lens.embed(torch.cat(squares))
        terms = {}
        if wanted[0]:
            source = self._patch_sources(jobs, draws)
            words = jobs.words.repeat_interleave(count, 0)
            patches = vectors[: count * len(jobs)]
            losses = directional_clip_loss(patches, source, words, jobs.plain, plan.patches.threshold)
            terms["patch"] = over_patches(losses.view(-1, count), plan.patches.reduction)
        if wanted[1]:
            terms["direction"] = directional_clip_loss(vectors[-len(jobs) :], jobs.masked, jobs.words, jobs.plain)
        return terms

    @torch.no_grad()
    def _patch_sources(self, jobs: Jobs, draws: Sequence[Draw]) -> Tensor:
        if self.plan.patches.source == "content":
            return jobs.whole.repeat_interleave(self.plan.patches.count, 0)
        return self.lens.embed(self._squares(jobs.seen, draws))

    def _squares(self, images: Tensor, draws: Sequence[Draw]) -> Tensor:
        """Return all patches as CLIP sees them, ``(N * C, 3, side, side)``, a job's one after the other."""
        twice = self.plan.patches.darken_twice
        cuts = (cut(image, drawn, darken_twice=twice) for image, drawn in zip(images, draws, strict=True))
        return torch.cat([self.lens.for_clip(squares, "bilinear") for squares in cuts])

    # ------------------------------------------------------------------ after the last iteration

    @torch.no_grad()
    def painting(self, network: StyleUNet, jobs: Jobs, job: int) -> Tensor:
        """Return one job's picture (eq. 6), ``(3, H, W)``, RGB in [0, 1].

        Source: LEAST, eq. 6; the contrast of the whole output comes before it in the public code.
        """
        content, mask = jobs.order.content[job], jobs.order.mask[job]
        weights = {name: value[job : job + 1] for name, value in network.named_parameters()}
        frame, seen, begin = jobs.frames[job], jobs.seen[job : job + 1], jobs.begin
        begin = None if begin is None else begin[job : job + 1]
        side = self._repainted(frame.window)
        if side:
            frame = frame_of(mask, self.plan.canvas, jobs.order.context, side)
            larger = onto_canvas(content, frame, side)[None]
            seen = normalised_once_more(larger) if self.plan.double_normalise else larger
            begin = self._begun(larger, jobs.order.prompts[job : job + 1])
        with without_autocast(content):
            logits = functional_call(network, weights, (seen,))
        canvas = with_contrast(finished(logits, begin, self.plan.residual)[0], self.plan.contrast)
        return torch.lerp(content, into_picture(canvas, frame, content), mask)

    def _repainted(self, window: Box) -> int:
        """Return the side of the larger canvas that the picture is painted on, 0 for the one of the fit."""
        native = -(-max(window.size) // STRIDE) * STRIDE
        side = min(self.plan.canvas.repaint, native)
        return side if side > self.plan.canvas.size else 0

    def set_rate(self, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        """Set the learning rate of an iteration."""
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * self.plan.schedule.share(iteration)


def finished(logits: Tensor, begin: Tensor | None, residual: float) -> Tensor:
    """Return the sigmoid of a network's output, which changes the start's own logits where there is a start."""
    return torch.sigmoid(logits if begin is None else torch.logit(begin) + residual * logits)


def with_contrast(image: Tensor, factor: float) -> Tensor:
    """Move ``(3, H, W)`` away from its mean grey by a factor, as torchvision's ``adjust_contrast`` does."""
    if factor == 1:
        return image
    grey = image.new_tensor((0.2989, 0.587, 0.114)).view(3, 1, 1)
    return torch.lerp((image * grey).sum(0).mean(), image, factor).clamp(0, 1)


def _one_short(box: Box) -> Box:
    """Leave the last row and column out, but one."""
    return Box(box.top, box.left, max(box.bottom - 1, box.top + 1), max(box.right - 1, box.left + 1))


def _mixed(seed: int, iteration: int) -> int:
    return int.from_bytes(sha256(f"{seed} {iteration}".encode()).digest()[:8], "little") >> 1
