"""LEAST: a network fitted to one picture, one region of it and one style in words."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from torch import Tensor

from lightning_modules.base import StyleTransferModule
from lightning_modules.controls import Control
from lightning_modules.errors import ImpastoError
from lightning_modules.least.beginnings import NOISE, beginning
from lightning_modules.least.canvas import feathered
from lightning_modules.least.fitting import Fitting, Plan
from lightning_modules.least.jobs import Jobs, Order
from lightning_modules.least.lens import Lens
from lightning_modules.least.loop import ended, fit
from lightning_modules.least.networks import StyleUNet
from lightning_modules.least.progress import Gallery, Plateau, key_of
from lightning_modules.least.settings import Canvas, LossWeights, Patches, Schedule, Structure
from lightning_modules.least.templates import SETS
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.networks.vgg import VGGEncoder
from lightning_modules.types import Condition, JobBatch, Manner
from lightning_modules.weights import WeightsSource, load_clip, load_vgg, need_clip, need_vgg, resolve


class LEAST(StyleTransferModule):
    """LEAST: "Local" text-conditioned image style transfer (arXiv 2405.16330).

    There is nothing to train: `stylize` fits a fresh network to every picture, region and prompt. Under a Trainer one
    training step is one iteration of the jobs in the batch; what became of them is part of the checkpoint, and
    `stylize` hands it out again. Jobs never see each other: side by side and one by one come to the same, and ``clip``
    is the largest norm of one job's gradients.

    Args:
        optimizer: Of the style networks.
        weights: Where CLIP and VGG come from.
        clip_model: An architecture of open_clip, for pretrained and random weights.
        loss: Weight of each term.
        canvas: What the networks are fitted on.
        patches: Of the patch term.
        structure: The content term.
        schedule: Of the learning rate.
        templates: Sentences around style and source text, ``imagenet``, ``plain``, or their own list, each with one
            ``{}``.
        source: The words for a picture without style.
        drop_style_word: Whether the prompt is put in lower case and loses every "style" in it, as in the public code.
        double_normalise: Whether the content is ImageNet-normalised before network, CLIP and VGG normalise it again,
            as in the public code.
        antialias: Whether pictures are smoothed where they are shrunk for CLIP.
        contrast: Of the finished picture, around its mean grey; 1 leaves it alone.
        begin: Where a painting begins: at ``noise``, at the ``content``, or at what a checkpoint makes of it, a file of
            a method that takes text or ``embedded:NAME``.
        residual: With a begin other than noise, how much the network's output changes its logits.
        jobs_per_device: Jobs that are fitted side by side.
        precision: Of CLIP and VGG; everything else is float32.
        compile: Whether `torch.compile` compiles network, CLIP and VGG.
        **settings: See `StyleTransferModule`.

    Raises:
        ImpastoError: If a setting is out of its range.
    """

    conditions: ClassVar[frozenset[Condition]] = frozenset({"text", "region"})
    requires: ClassVar[frozenset[Condition]] = frozenset({"text"})
    controls: ClassVar[tuple[Control, ...]] = (
        Control("iterations", 200, "Iterations of every fit.", low=1),
        Control("patience", 0, "End a fit whose loss has not fallen for so many iterations; 0 never does.", low=0),
        Control("feather", 0.0, "Width in pixels in which a region fades out, inwards.", low=0.0, high=256.0),
        Control("context", 0.5, "Surroundings that a fit sees, as a share of the region's box.", low=0.0, high=16.0),
    )
    trains: ClassVar[bool] = False
    optimises: ClassVar[bool] = True
    stride: ClassVar[int] = 1  # the canvas has its own size

    def __init__(
        self,
        optimizer: OptimizerCallable,
        *,
        weights: WeightsSource = "auto",
        clip_model: str = "ViT-B-32",
        loss: LossWeights = LossWeights(),
        canvas: Canvas = Canvas(),
        patches: Patches = Patches(),
        structure: Structure = Structure(),
        schedule: Schedule = Schedule(),
        templates: str | list[str] = "imagenet",
        source: str = "a Photo",
        drop_style_word: bool = False,
        double_normalise: bool = False,
        antialias: bool = True,
        contrast: float = 1.0,
        begin: str = NOISE,
        residual: float = 1.0,
        jobs_per_device: int = 1,
        precision: Literal["float32", "bfloat16"] = "float32",
        compile: bool = False,  # noqa: A002 - as other methods call it
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if jobs_per_device < 1:
            raise ImpastoError(f"jobs_per_device must be at least 1, not {jobs_per_device}.")
        if self.accumulate != 1:
            raise ImpastoError(
                f"LEAST steps with every iteration, so model.accumulate cannot be {self.accumulate}: leave it at 1, "
                "and for steadier gradients raise model.patches.count."
            )
        self.plan = Plan(
            loss=loss,
            canvas=canvas,
            patches=patches,
            structure=structure,
            schedule=schedule,
            templates=_templates(templates),
            source=source,
            drop_style_word=drop_style_word,
            double_normalise=double_normalise,
            contrast=contrast,
            residual=0.0 if begin == NOISE else residual,
        )
        self.make_optimizer = optimizer
        self.weights = self.settled["weights"] = resolve(weights, need_clip(clip_model), need_vgg())
        self.clip_model = clip_model
        self.in_half, self.antialias, self.compiled = precision == "bfloat16", antialias, compile
        self.begin = begin
        self.network = StyleUNet(jobs_per_device, padding=canvas.padding)
        self.plateau = Plateau(jobs_per_device)
        self.gallery = Gallery()
        self.clip_encoder: CLIPEncoder | None = None
        self.encoder: VGGEncoder | None = None
        self._fitting: Fitting | None = None
        self._running: tuple[Jobs, list[str]] | None = None

    # ------------------------------------------------------------------ what it looks through

    def load_loss_networks(self) -> None:
        """Load CLIP and VGG, which a picture that is painted already does without."""
        if self._fitting is not None:
            return
        clip = self.clip_encoder = load_clip(self.weights, model=self.clip_model)
        vgg = self.encoder = load_vgg(self.weights)
        lens = Lens(clip, vgg, half=self.in_half, antialias=self.antialias)
        self._fitting = Fitting(lens, self.plan, beginning(self.begin))
        for network in (self.network, clip.model.visual, vgg.trunk):
            self._compile(network)

    @property
    def fitting(self) -> Fitting:
        """Return what fits networks, with its own networks on this module's device."""
        self.load_loss_networks()
        assert self._fitting is not None  # noqa: S101 - just loaded
        for network in (self._fitting.lens.clip, self._fitting.lens.vgg):
            network.to(self.device)
        return self._fitting

    def _compile(self, network: torch.nn.Module) -> None:
        if self.compiled:
            network.compile()  # in place, so that the names in checkpoints stay

    # ------------------------------------------------------------------ painting

    def _render(self, content: Tensor, manner: Manner) -> Tensor:
        """Fit a network to every sample that no fit under a Trainer has painted yet."""
        order, keys = self._order(content, manner.mask, manner.prompt or [], manner.controls)
        paintings = {key: painting for key in keys if (painting := self.gallery.get(key)) is not None}
        waiting = [number for number, key in enumerate(keys) if key not in paintings]
        if self._fits_now():
            paintings |= self._so_far(order, keys)
        else:
            for chunk in torch.tensor(waiting).split(self.network.jobs) if waiting else ():
                fitted = self._fit(_part(order, chunk.tolist()), manner.controls)
                paintings |= dict(zip([keys[number] for number in chunk.tolist()], fitted, strict=True))
        painted = torch.stack([paintings[key].to(content) for key in keys])
        return torch.lerp(content, painted, manner.alpha)

    def _order(
        self, content: Tensor, mask: Tensor | None, prompts: Sequence[str], controls: Mapping[str, Any]
    ) -> tuple[Order, list[str]]:
        """Return what is to be painted, and the key of every job."""
        masks = torch.ones_like(content[:, :1]) if mask is None else feathered(mask.to(content), controls["feather"])
        context, seed = controls["context"], self._seed()
        how = (context, controls["iterations"], controls["patience"])
        keys = [key_of(*job, *how) for job in zip(content, masks, prompts, strict=True)]
        return Order(content, masks, prompts, seed, context), keys

    def _seed(self) -> int:
        # In a fit the generators are reseeded every iteration; else their seed is what the command was given.
        return int(os.environ.get("PL_GLOBAL_SEED", "0")) if self._fits_now() else torch.initial_seed()

    def _fits_now(self) -> bool:
        if self._trainer is None:
            return False
        state = self._trainer.state
        return state.fn == TrainerFn.FITTING and state.status == TrainerStatus.RUNNING

    def _fit(self, order: Order, controls: Mapping[str, Any]) -> list[Tensor]:
        network = StyleUNet(len(order), padding=self.plan.canvas.padding).to(order.content)
        self._compile(network)
        optimizer = self.make_optimizer(network.parameters())
        return fit(self.fitting, network, optimizer, order, controls, self.on_iteration, self.clip)

    def _so_far(self, order: Order, keys: Sequence[str]) -> dict[str, Tensor]:
        """Return what a fit under way has to show: of the jobs at hand what there is, of later ones the content."""
        shown = {key: content for key, content in zip(keys, order.content, strict=True) if key not in self.gallery}
        if self._running is not None:
            jobs, running = self._running
            at_hand = [job for job, key in enumerate(running) if key in shown]
            shown |= {running[job]: self.fitting.painting(self.network, jobs, job) for job in at_hand}
        return shown

    # ------------------------------------------------------------------ under a Trainer

    def setup(self, stage: str) -> None:
        """Begin with no jobs; refuse to average the networks of different jobs.

        Raises:
            ImpastoError: If a fit runs on several devices.
        """
        if stage == TrainerFn.FITTING and self.trainer.world_size > 1:
            raise ImpastoError(
                "LEAST fits networks to single pictures, whose gradients several devices must not average: fit on one "
                "device, or let `predict` spread the jobs."
            )
        super().setup(stage)
        self._running = None

    def training_step(self, batch: JobBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Run one iteration of the batch's jobs; of jobs that are done, nothing."""
        controls = {control.name: control.default for control in self.offered}
        iteration = self._iteration_of(batch)
        jobs, keys = self._take_up(batch, iteration, controls)
        done = [job for job, key in enumerate(keys) if key in self.gallery]
        if len(done) == len(jobs):
            return
        optimizer, fitting = cast(LightningOptimizer, self.optimizers()), self.fitting
        fitting.set_rate(optimizer.optimizer, iteration)
        with self.optimizing(optimizer) as backward:
            terms = fitting.terms(self.network, jobs, iteration)
            total = fitting.total(terms)
            backward(total.sum())
        for job in ended(self.plateau, total, iteration, controls, done):
            self.gallery.add(keys[job], fitting.painting(self.network, jobs, job))
        self.log_terms({name: term.mean() for name, term in {**terms, "total": total}.items()})

    def _iteration_of(self, batch: JobBatch) -> int:
        given = getattr(batch, "iteration", None)
        if given is None:
            raise ImpastoError("LEAST fits jobs: take data that has some, such as datamodules.local_style.")
        if len(batch.content) > self.network.jobs:
            raise ImpastoError(
                f"The data brings {len(batch.content)} jobs at once, and model.jobs_per_device is {self.network.jobs}: "
                "set both to the same number."
            )
        return int(given[0])

    def _take_up(self, batch: JobBatch, iteration: int, controls: Mapping[str, Any]) -> tuple[Jobs, list[str]]:
        """Return the batch's jobs; where they are new, begin them, and where a run goes on, look at them again."""
        if self._running is not None and iteration:
            return self._running
        mask = batch.mask.to(batch.content).clamp(0, 1)
        order, keys = self._order(batch.content, mask, batch.prompt, controls)
        if not iteration:
            self._leave()
            self.network.start([order.seed] * len(order))
            self.plateau.start()
            cast(LightningOptimizer, self.optimizers()).optimizer.state.clear()
        self._running = self.fitting.prepare(order), keys
        return self._running

    def _leave(self) -> None:
        """Keep what became of jobs that the data ended before their last iteration."""
        if self._running is None:
            return
        jobs, keys = self._running
        for job, key in enumerate(keys):
            if key not in self.gallery:
                self.gallery.add(key, self.fitting.painting(self.network, jobs, job))
        self._running = None

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:  # noqa: ARG002 - there is one
        """Clip the gradients of every job by themselves."""
        if self.clip is not None:
            self.network.clip_gradients(self.clip)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser for all jobs that are fitted side by side; its state begins anew with them."""
        return self.make_optimizer(self.network.parameters())


def _part(order: Order, numbers: Sequence[int]) -> Order:
    prompts = [order.prompts[number] for number in numbers]
    return Order(order.content[list(numbers)], order.mask[list(numbers)], prompts, order.seed, order.context)


def _templates(given: str | Sequence[str]) -> Sequence[str]:
    chosen = SETS.get(given) if isinstance(given, str) else tuple(given)
    if not chosen or any("{}" not in template for template in chosen):
        raise ImpastoError(
            f"templates must be {' or '.join(SETS)}, or a list of sentences with {{}} each, not {given!r}."
        )
    return chosen
