"""Manual optimisation, settled once: one optimiser's share of a step, or several losses' gradients kept apart."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_modules.errors import ImpastoError
from lightning_modules.optim.logit_accumulation import LogitAccumulation
from lightning_modules.optim.ranks import average_over_ranks
from lightning_modules.optim.roles import Combine, RoleGradients

Batch = TypeVar("Batch")
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Backward(Protocol):
    """What `ManualOptimization.optimizing` yields: call it with a loss of one optimiser."""

    def __call__(self, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Accumulate the gradients of ``loss``."""


class ManualOptimization(LightningModule):
    """A Lightning module that steps its optimisers by hand, any number of them and in any order.

    * A window is ``accumulate`` micro-batches; every optimiser that takes part in it steps at its end. Windows are the
      iterations: ``trainer.global_step`` counts them, however many optimisers a method has and whichever of them step
      (Lightning counts every ``optimizer.step()``), so ``max_steps`` and checkpoint intervals in YAML are iterations.
    * Gradient clipping and accumulation, which Lightning refuses under manual optimisation, work for all of them.
    * A loss may come in several backward passes, over chunks of a batch too large for one. Gradients are averaged over
      ranks once, when the window ends: one reduction, whatever was run before, and plain ``ddp`` suffices for
      optimisers that alternate.
    * Running statistics of batch norms are averaged over ranks with every step, so that all ranks validate alike.
    * Where a method sets ``effective_batch``, its batch-wise losses (`contrasts`) are taken over that many pictures,
      those of several micro-batches and of all ranks; everything else of the step comes to the same as for one batch of
      that size. `parts_to_embed` and `parts_to_train` lead a training step through them; ``accumulate`` then counts
      effective batches.

    Args:
        clip: Largest norm of one optimiser's gradients; None leaves them alone.
        accumulate: Micro-batches that share one optimiser step.

    Attributes:
        effective_batch: Pictures whose batch-wise losses are taken together; None for those of a micro-batch and rank.
        contrasts: What batch-wise losses are computed through.
        iteration: Number of the window at hand, from 0. ``global_step`` is already the next one once an optimiser has
            stepped in it.
    """

    effective_batch: int | None = None

    def __init__(self, *, clip: float | None = None, accumulate: int = 1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.clip = clip
        self.accumulate = accumulate
        self.contrasts: LogitAccumulation[Any] = LogitAccumulation()
        self._micro_batches = 1  # of an effective batch
        self._roles: dict[int, RoleGradients] = {}
        self.iteration = 0
        self._counted = False

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Refuse half precision with loss scaling or of the weights; a subclass that overrides this calls it first.

        Raises:
            ImpastoError: If the Trainer runs in float16, or keeps weights in bfloat16.
        """
        precision = str(self.trainer.precision)
        if precision.startswith(("16", "transformer-engine-float16")):
            raise ImpastoError(
                f"The precision {precision} scales losses for one optimiser and overflows in projection heads: "
                "take bf16-mixed (overlays/bf16.yaml), which needs no scaling."
            )
        if precision in {"bf16-true", "transformer-engine"}:
            raise ImpastoError(
                f"The precision {precision} rounds the weights themselves, to which small steps then add nothing: take "
                "bf16-mixed (overlays/bf16.yaml), which keeps them in float32."
            )

    @property
    def window_ends(self) -> bool:
        """Whether the micro-batch at hand is the last one of its window."""
        return not self.contrasts.more and self._ends(self.accumulate * self._micro_batches)

    def _ends(self, length: int) -> bool:
        loop = self.trainer.fit_loop.epoch_loop
        return (loop.batch_idx + 1) % length == 0 or bool(self.trainer.is_last_batch)

    # ------------------------------------------------------------------ effective batches

    def parts_to_embed(self, batch: Batch, pictures: int) -> Iterator[Batch]:
        """Keep a micro-batch; when it completes an effective batch, yield all of that, to embed it without gradients.

        Nothing is yielded where a micro-batch is the effective batch. See `LogitAccumulation.embedding`.

        Args:
            batch: What `training_step` got.
            pictures: That it makes on this rank.

        Raises:
            ImpastoError: If an effective batch is not a whole number of micro-batches.
        """
        self._micro_batches = self._micro_batches_of(pictures * self.trainer.world_size)
        if self._micro_batches == 1:
            return
        if self.trainer.fit_loop.epoch_loop.batch_idx % self._micro_batches == 0:
            self.contrasts.forget()  # a fit that was stopped in the middle of one
        self.contrasts.keep(batch, self.device)
        self.learn_statistics(batch)
        if self._ends(self._micro_batches):
            yield from self.contrasts.embedding()

    def parts_to_train(self, batch: Batch) -> Iterator[Batch]:
        """Yield the effective batch again, once it is complete, to be computed with gradients.

        Where a micro-batch is the effective batch, that is what comes.

        Args:
            batch: What `training_step` got.
        """
        if self._micro_batches == 1:
            yield batch
        elif self._ends(self._micro_batches):
            yield from self.contrasts.training()

    def learn_statistics(self, batch: Any) -> None:
        """Learn running statistics on which embeddings depend from a micro-batch that is kept for later.

        They must stand still from the first pass to the end of the second: a method that has such statistics, and else
        learns them on its way, does it here and leaves it out while ``contrasts.active``.
        """

    def _micro_batches_of(self, pictures: int) -> int:
        wanted = self.effective_batch or pictures
        if wanted < pictures or wanted % pictures:
            least = max(1, wanted // pictures) * pictures
            raise ImpastoError(
                f"model.effective_batch {wanted} is no multiple of the {pictures} pictures that a batch makes on all "
                f"ranks: set it to {least} or {least + pictures}, or change data.batch_size."
            )
        return wanted // pictures

    # ------------------------------------------------------------------ one optimiser's share

    @contextmanager
    def optimizing(self, optimizer: LightningOptimizer) -> Iterator[Backward]:
        """Run one optimiser's share of a training step: toggle, backward, reduce, clip, step, zero, and its schedule.

        Parameters of the other optimisers do not require gradients inside the block, so what is computed in it costs
        nothing for them and leaves no gradient behind. The step happens when the block closes, at the window's end.

        Args:
            optimizer: One of ``self._optimizers()``, a list however many there are.

        Yields:
            A function to call with the loss, once or several times; gradients add up.
        """

        def backward(loss: Tensor, *, retain_graph: bool = False) -> None:
            self.manual_backward(loss / (self.accumulate * self.contrasts.count), retain_graph=retain_graph)

        with optimizer.toggle_model(sync_grad=False):
            yield backward
        if not self.window_ends:
            return
        parameters = _parameters(optimizer)
        averaged = average_over_ranks([parameter.grad for parameter in parameters], parameters)
        for parameter, gradient in zip(parameters, averaged, strict=True):
            parameter.grad = gradient
        self._step(optimizer)

    @contextmanager
    def role_gradients(
        self, optimizer: LightningOptimizer, roles: Sequence[str], combine: Combine
    ) -> Iterator[RoleGradients]:
        """As `optimizing`, for several losses whose gradients a method combines itself.

        The gradients of every role are summed over the window and averaged over ranks before ``combine`` sees them: a
        projection is not linear, and would otherwise depend on how the batch was split.

        Args:
            optimizer: One of ``self._optimizers()``, a list however many there are.
            roles: Names of the losses, the same in every micro-batch and on every rank.
            combine: See `lightning_modules.optim.roles.Combine`.

        Yields:
            An object whose ``backward(role, loss)`` keeps a role's gradients.
        """
        key = self._optimizers().index(optimizer)
        if key not in self._roles:
            window = self.accumulate * self.contrasts.count
            self._roles[key] = RoleGradients(_parameters(optimizer), roles, self.manual_backward, window)
        with optimizer.toggle_model(sync_grad=False):
            yield self._roles[key]
        if not self.window_ends:
            return
        self._roles.pop(key).write(combine)
        self._step(optimizer)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Number the window, which no optimiser has counted yet; a subclass that overrides this calls it."""
        self.iteration = self.trainer.global_step
        self._counted = False

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Count a window in which no optimiser stepped: it is an iteration too."""
        if self.window_ends and not self._counted:
            progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
            progress.increment_ready()
            progress.increment_completed()

    def on_validation_epoch_end(self) -> None:
        """Step the schedules that follow a metric, with what this validation measured.

        Raises:
            ImpastoError: If a schedule does not say which metric, or it is not measured.
        """
        if self.trainer.state.fn != TrainerFn.FITTING or self.trainer.sanity_checking:
            return
        for scheduler in self._schedulers():
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(_followed(scheduler, self.trainer.callback_metrics))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip here: the one place that Lightning reaches with the final gradients."""
        if self.clip is None:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.clip)

    def _step(self, optimizer: LightningOptimizer) -> None:
        if self._counted:
            self._leave_global_step_alone(optimizer)
        self._counted = True
        self._average_running_statistics()
        optimizer.step()
        optimizer.zero_grad()
        self._step_schedulers(optimizer)

    def _average_running_statistics(self) -> None:
        # DDP would copy the first rank's with its own reductions, which do not take place here.
        if self.trainer.world_size == 1:
            return
        norms = [module for module in self.modules() if isinstance(module, BATCH_NORMS) and module.training]
        kept = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
        held = [statistic for statistic in kept if statistic is not None]
        for statistic, mean in zip(held, average_over_ranks(held, held), strict=True):
            if mean is not None and mean is not statistic:
                statistic.copy_(mean)

    def _step_schedulers(self, optimizer: LightningOptimizer) -> None:
        # With the optimiser and not in `on_train_batch_end`: callbacks come before that hook, and a checkpoint that
        # one of them saves there would be an iteration behind in its learning rates.
        for scheduler in self._schedulers():
            if scheduler.optimizer is optimizer.optimizer and not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()

    def _schedulers(self) -> list[LRScheduler]:
        schedulers = self.lr_schedulers()
        return [each for each in (schedulers if isinstance(schedulers, list) else [schedulers]) if each is not None]

    def _optimizers(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers()
        return cast(list[LightningOptimizer], optimizers if isinstance(optimizers, list) else [optimizers])

    def _leave_global_step_alone(self, optimizer: LightningOptimizer) -> None:
        # The manual loop installs counting hooks on every optimiser before each batch; only one step a window may
        # count, or max_steps would mean iterations times optimisers (lightning#17958).
        profiler = self.trainer.profiler  # type: ignore[attr-defined]
        optimizer._on_before_step = lambda: profiler.start("optimizer_step")
        optimizer._on_after_step = lambda: profiler.stop("optimizer_step")


def _followed(scheduler: ReduceLROnPlateau, metrics: Mapping[str, Tensor]) -> Tensor:
    monitor = str(getattr(scheduler, "monitor", "no metric"))  # of lightning.pytorch.cli.ReduceLROnPlateau
    if monitor not in metrics:
        measured = ", ".join(sorted(name for name in metrics if name.startswith("val/"))) or "nothing"
        raise ImpastoError(
            f"The schedule follows {monitor}, and the validation measures {measured}: name one of these as `monitor` "
            "of lightning.pytorch.cli.ReduceLROnPlateau."
        )
    return metrics[monitor]


def _parameters(optimizer: LightningOptimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
