"""The contract that every method signs: `StyleTransferModule`, and the way back from a checkpoint."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast, final

import torch
import torch.nn.functional as F
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import CHECKPOINT_KEY, Experiment
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.types import Condition, StyleBatch, Stylization


class Backward(Protocol):
    """What `StyleTransferModule.optimizing` yields: call it with the loss of one optimiser."""

    def __call__(self, loss: Tensor) -> None:
        """Accumulate the gradients of ``loss``."""


class StyleTransferModule(Experiment, ABC):
    """Base of all methods: manual optimisation, one way to stylize, one way to validate, exact resume.

    What it settles once for every paper:

    * ``trainer.global_step`` counts iterations, however many optimisers a method has (Lightning counts every
      ``optimizer.step()``), so ``max_steps`` and checkpoint intervals in YAML are iterations.
    * Gradient clipping and accumulation, which Lightning refuses under manual optimisation, work for any number of
      optimisers, after AMP has unscaled the gradients.
    * Frozen networks (`FrozenNetwork`) stay out of checkpoints; everything else must be in them.

    A subclass implements `training_step`, `configure_optimizers` and `_render`, and sets `conditions`.

    Args:
        clip: Largest norm of one optimiser's gradients; None leaves them alone.
        accumulate: Micro-batches that share one optimiser step.
        validate_with: The condition that `validation_step` passes to `stylize`.

    Raises:
        ImpastoError: If ``validate_with`` is not among the method's conditions.
    """

    conditions: ClassVar[frozenset[Condition]]
    stride: ClassVar[int] = 16
    """Side lengths inside the network are multiples of this, in pixels."""

    def __init__(self, *, clip: float | None = None, accumulate: int = 1, validate_with: Condition = "text") -> None:
        super().__init__()
        self.automatic_optimization = False
        self.clip = clip
        self.accumulate = accumulate
        if validate_with not in self.conditions:
            raise ImpastoError(
                f"{type(self).__name__} cannot validate with {validate_with}: it takes {_words(self.conditions)}."
            )
        self.validate_with = validate_with

    # ------------------------------------------------------------------ inference

    @final
    @torch.no_grad()
    def stylize(
        self,
        content: Tensor,
        *,
        style: Tensor | None = None,
        prompt: str | Sequence[str] | None = None,
        mask: Tensor | None = None,
        alpha: float = 1.0,
    ) -> Tensor:
        """Paint ``content`` in the manner of a style image or a text prompt.

        Args:
            content: ``(B, 3, H, W)``, RGB in [0, 1], any H and W.
            style: ``(B, 3, h, w)`` or ``(1, 3, h, w)``, RGB in [0, 1].
            prompt: One prompt for all samples, or one per sample.
            mask: ``(B, 1, H, W)`` in [0, 1]: where to paint.
            alpha: Strength: 0 leaves the content's own look, 1 is the trained strength, above 1 exaggerates.

        Returns:
            ``(B, 3, H, W)``, RGB in [0, 1], the size of ``content``.

        Raises:
            ImpastoError: If a condition is missing, not one the method takes, or of the wrong shape.
        """
        _check_images(content, "content")
        prompts = [prompt] * len(content) if isinstance(prompt, str) else None if prompt is None else list(prompt)
        self._check_conditions(len(content), style, prompts, mask)
        if style is not None:
            style = style.to(content).expand(len(content), -1, -1, -1)
        height, width = content.shape[-2:]
        padded = _pad(content, self.stride)
        padded_mask = None if mask is None else _pad(mask, self.stride)
        stylized = self._render(padded, style=style, prompt=prompts, mask=padded_mask, alpha=alpha)
        return stylized[..., :height, :width].float().clamp(0, 1)

    @abstractmethod
    def _render(
        self,
        content: Tensor,
        *,
        style: Tensor | None,
        prompt: list[str] | None,
        mask: Tensor | None,
        alpha: float,
    ) -> Tensor:
        """Stylize checked input whose sides are multiples of ``stride``; the result may leave [0, 1]."""

    def _check_conditions(
        self, batch: int, style: Tensor | None, prompts: list[str] | None, mask: Tensor | None
    ) -> None:
        name = type(self).__name__
        given: dict[Condition, object] = {"image": style, "text": prompts, "region": mask}
        for condition, value in given.items():
            if value is not None and condition not in self.conditions:
                raise ImpastoError(f"{name} does not take {condition} conditions, only {_words(self.conditions)}.")
        if style is None and prompts is None:
            raise ImpastoError(f"{name} needs a style: give {_words(self.conditions - {'region'}, 'or')}.")
        if style is not None and prompts is not None:
            raise ImpastoError(f"{name} takes a style image or a text prompt, not both.")
        if prompts is not None and len(prompts) != batch:
            raise ImpastoError(f"{len(prompts)} prompts were given for {batch} content images.")
        if style is not None:
            _check_images(style, "style")
            if len(style) not in (1, batch):
                raise ImpastoError(f"{len(style)} style images were given for {batch} content images.")

    @final
    def validation_step(self, batch: StyleBatch, batch_idx: int) -> Stylization:  # noqa: ARG002
        """Stylize the batch; callbacks make metrics and pictures of the result."""
        condition: dict[str, Any] = {"prompt": batch.prompt} if self.validate_with == "text" else {"style": batch.style}
        output = Stylization(
            content=batch.content,
            style=batch.style,
            stylized=self.stylize(batch.content, **condition),
            artist=batch.artist,
            prompt=batch.prompt,
            index=batch.index,
        )
        if batch.truth is not None:
            output["truth"] = batch.truth
        return output

    @final
    def test_step(self, batch: StyleBatch, batch_idx: int) -> Stylization:
        """Do on the test split what `validation_step` does on its own."""
        return self.validation_step(batch, batch_idx)

    @final
    def predict_step(self, batch: StyleBatch, batch_idx: int) -> Stylization:
        """Return the stylised batch."""
        return self.validation_step(batch, batch_idx)

    # ------------------------------------------------------------------ optimisation

    @contextmanager
    def optimizing(self, optimizer: LightningOptimizer) -> Iterator[Backward]:
        """Run one optimiser's share of a training step: toggle, backward, clip, step, zero, and step its schedule.

        Parameters of the other optimisers do not require gradients inside the block, so what is computed in it
        costs nothing for them and leaves no gradient behind. The step happens when the block closes, on the last
        micro-batch of an accumulation.

        Args:
            optimizer: One of ``self.optimizers()``.

        Yields:
            A function to call with the loss, once or several times.
        """
        last = (self.trainer.fit_loop.epoch_loop.batch_idx + 1) % self.accumulate == 0 or self.trainer.is_last_batch

        def backward(loss: Tensor) -> None:
            self.manual_backward(loss / self.accumulate)

        with optimizer.toggle_model(sync_grad=last):
            yield backward
        if not last:
            return
        if optimizer is not self._optimizers()[0]:
            self._leave_global_step_alone(optimizer)
        optimizer.step()
        optimizer.zero_grad()
        self._step_schedulers(optimizer)

    def _step_schedulers(self, optimizer: LightningOptimizer) -> None:
        # With the optimiser and not in `on_train_batch_end`: callbacks come before that hook, and a checkpoint that
        # one of them saves there would be an iteration behind in its learning rates.
        schedulers = self.lr_schedulers()
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            if scheduler is not None and scheduler.optimizer is optimizer.optimizer:
                scheduler.step()

    def _optimizers(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers()
        return cast(list[LightningOptimizer], optimizers if isinstance(optimizers, list) else [optimizers])

    def _leave_global_step_alone(self, optimizer: LightningOptimizer) -> None:
        # The manual loop installs counting hooks on every optimiser before each batch; only the first may count,
        # or max_steps would mean iterations times optimisers (lightning#17958).
        profiler = self.trainer.profiler  # type: ignore[attr-defined]
        optimizer._on_before_step = lambda: profiler.start("optimizer_step")
        optimizer._on_after_step = lambda: profiler.stop("optimizer_step")

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip here: the one place that AMP reaches with unscaled gradients."""
        if self.clip is None:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.clip)

    # ------------------------------------------------------------------ checkpoints

    def _frozen_prefixes(self) -> tuple[str, ...]:
        return tuple(f"{name}." for name, module in self.named_modules() if isinstance(module, FrozenNetwork))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return everything that is trained; frozen networks come from `lightning_modules.weights` again."""
        state = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", "")
        frozen = tuple(prefix + name for name in self._frozen_prefixes())
        for key in [key for key in state if key.startswith(frozen)] if frozen else []:
            del state[key]
        return cast(dict[str, Any], state)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` returned.

        Raises:
            ImpastoError: If ``strict`` and a trained tensor is missing, unexpected or of another shape.
        """
        try:
            result = super().load_state_dict(state_dict, strict=False, assign=assign)
        except RuntimeError as error:
            shapes = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
            raise ImpastoError(
                f"The weights do not fit this {type(self).__name__}; was it configured differently? "
                f"{len(shapes)} tensors differ in shape, first: {shapes[0] if shapes else error}"
            ) from error
        frozen = self._frozen_prefixes()
        missing = [key for key in result.missing_keys if not key.startswith(frozen or ("\0",))]
        if strict and (missing or result.unexpected_keys):
            raise ImpastoError(
                f"The weights do not fit this {type(self).__name__}: {len(missing)} tensors are missing and "
                f"{len(result.unexpected_keys)} unexpected, first: {(missing + result.unexpected_keys)[0]}."
            )
        return result

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another method's checkpoint.

        Raises:
            ImpastoError: If the checkpoint is not signed by this method or was trained on other frozen networks.
        """
        signature = _signature(checkpoint, "The checkpoint")
        if signature["method"] != self.method:
            raise ImpastoError(f"The checkpoint was written by {signature['method']}, not by {self.method}.")
        _check_sources(signature["frozen"], self.frozen_sources())


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> StyleTransferModule:
    """Rebuild a trained method from a checkpoint alone.

    Args:
        path: A checkpoint that a run of this repo wrote.
        device: Where the module goes.

    Returns:
        The module in evaluation mode.

    Raises:
        ImpastoError: If the file is missing, unreadable, or was not written by this repo.
    """
    path = Path(path)
    if not path.is_file():
        raise ImpastoError(f"There is no checkpoint at {path}; train one with `make train-clast`.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ImpastoError(f"{path} is not a checkpoint that can be read safely ({type(error).__name__}).") from error
    signature = _signature(checkpoint, str(path))
    if signature["recipe"] is None:
        raise ImpastoError(f"{path} does not say how its model was configured: it was not written by `impasto fit`.")
    module = build(yaml.safe_load(signature["recipe"]))
    module.recipe = signature["recipe"]
    _check_sources(signature["frozen"], module.frozen_sources())
    module.load_state_dict(checkpoint["state_dict"])
    return module.to(device).eval()


def build(recipe: Mapping[str, Any]) -> StyleTransferModule:
    """Instantiate a module from ``{"class_path": ..., "init_args": {...}}``.

    Raises:
        ImpastoError: If the recipe does not name a method, its arguments do not fit, or weights are missing.
    """
    path = str(recipe.get("class_path"))
    if not _may_stylise(path):
        raise ImpastoError(f"{path} stylises nothing: choose a checkpoint of a method, such as runs/clast/latest.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(StyleTransferModule, "model", required=True)
    try:
        config = parser.parse_object({"model": dict(recipe)})
    except Exception as error:
        raise ImpastoError(f"The model cannot be configured: {str(error).strip().splitlines()[-1]}") from error
    try:
        return cast(StyleTransferModule, parser.instantiate(config).model)
    except ValueError as error:
        # jsonargparse wraps what a constructor raises, such as missing weights, in pages of its own.
        if isinstance(error.__cause__, ImpastoError):
            raise error.__cause__ from None
        raise


def _may_stylise(class_path: str) -> bool:
    package, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, ValueError):
        return True  # jsonargparse says best what is wrong with the path
    return not (isinstance(found, type) and issubclass(found, Experiment)) or issubclass(found, StyleTransferModule)


def _signature(checkpoint: Any, name: str) -> dict[str, Any]:
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise ImpastoError(f"{name} was not written by Impasto.")
    return cast(dict[str, Any], checkpoint[CHECKPOINT_KEY])


def _check_sources(trained: Mapping[str, str], present: Mapping[str, str]) -> None:
    for name, source in trained.items():
        if present.get(name) != source:
            raise ImpastoError(
                f"The checkpoint was trained with {name} weights from '{source}', but '{present.get(name)}' was "
                "loaded; set the model's `weights` to that source."
            )


def _words(conditions: frozenset[Condition], joint: str = "and") -> str:
    names = sorted(conditions)
    return f" {joint} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _check_images(images: Tensor, name: str) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise ImpastoError(f"The {name} must be (B, 3, H, W), got {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise ImpastoError(f"The {name} must be a float tensor in [0, 1], got {images.dtype}.")
    low, high = (float(value) for value in images.aminmax())
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        raise ImpastoError(f"The {name} must lie in [0, 1], got [{low:.3g}, {high:.3g}].")


def _pad(images: Tensor, stride: int) -> Tensor:
    """Pad right and bottom to multiples of ``stride``, at least two of them: statistics need several pixels."""
    height, width = images.shape[-2:]
    bottom, right = (max(2 * stride, -(-side // stride) * stride) - side for side in (height, width))
    # Reflection keeps texture going over the border; it needs more picture than padding.
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, bottom), mode=mode)
