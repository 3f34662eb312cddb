"""One picture after the other: what a user asks for becomes a painting, whoever paints it."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from datamodules.masks import fit_mask
from experiments.demo.choices import REDRAW, SEED, Offer, Studio
from experiments.painting.grounding import Found, Task, has_clauses, paint_regions
from experiments.painting.inference import TooLargeError, draw, paint
from experiments.painting.sizing import Sizing
from lightning_modules.base import StyleTransferModule
from lightning_modules.controls import Value, resolve_controls
from lightning_modules.errors import ImpastoError
from lightning_modules.generation import GenerativeModule
from lightning_modules.grounding import Clause, GivenMask, Settings, Where, find_grounder, locate, parse_prompt
from lightning_modules.types import Condition, Watcher

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    Attributes:
        photograph: ``(3, H, W)``, RGB in [0, 1].
        style: ``(3, h, w)``, RGB in [0, 1].
        prompt: A style in words, or what to draw.
        region: ``(1, h, w)`` in [0, 1]: where to paint; None for everywhere.
        by: Whether the style comes by a picture or by words, of a painter that takes either.
        size: Pixels of the shorter side at which to paint; 0 for those of the photograph, without one for those
            that the method validates with.
        controls: Values of the painter's controls.
    """

    photograph: Tensor | None = None
    style: Tensor | None = None
    prompt: str = ""
    region: Tensor | None = None
    by: Condition = "text"
    size: int = 0
    controls: Mapping[str, Value] = field(default_factory=dict)


class Painting(NamedTuple):
    """What came of it.

    Attributes:
        before: The photograph at the size of the painting, ``(3, H, W)``; None where there was none.
        after: ``(3, H, W)``, RGB in [0, 1].
        seconds: Of painting, without loading.
        device: Which the model was on.
    """

    before: Tensor | None
    after: Tensor
    seconds: float
    device: str


class Easel:
    """The one device: whoever asks, one picture is painted at a time, and always by itself.

    Args:
        studio: The painters.
        side: Longer side that is painted, in pixels.
    """

    def __init__(self, studio: Studio, side: int) -> None:
        self.studio = studio
        self._side = side
        self._turn = threading.Lock()  # a queue may let go of a painting that still runs

    def paint(self, label: str, wish: Wish, watcher: Watcher | None = None, say: Say = print) -> Painting:
        """Paint.

        Args:
            label: Of the painter.
            wish: What is asked for; what the painter does not take is left out of it.
            watcher: Who wants to know how it goes; what it raises ends the painting.
            say: Gets a sentence about what a user should know.

        Raises:
            ImpastoError: If something is missing, or does not fit the painter.
        """
        offer = self.studio.offer(label)
        check(offer, wish)
        sizing = Sizing(wish.size or None, self._side)
        before = None if wish.photograph is None else sizing.fit(wish.photograph)
        with self._turn:
            model = self.studio.model(label)
            began = time.perf_counter()
            with _heard(model, watcher):
                after = _painted(model, offer, wish, before, say)
        return Painting(before, after, time.perf_counter() - began, _device(model))


def check(offer: Offer, wish: Wish) -> None:
    """Say what is missing before anything is loaded.

    Raises:
        ImpastoError: If it is.
    """
    uses = offer.uses(wish.by)
    if wish.photograph is None and not offer.draws:
        raise ImpastoError("There is no photograph yet: upload one, or click an example.")
    if "text" in uses and not wish.prompt.strip():
        raise ImpastoError("There is no prompt yet: " + ("say what to draw." if offer.draws else "name a style."))
    if "image" in uses and wish.style is None:
        raise ImpastoError("There is no style picture yet: upload one, or click an example.")


def _painted(
    model: StyleTransferModule | GenerativeModule, offer: Offer, wish: Wish, photograph: Tensor | None, say: Say
) -> Tensor:
    controls = resolve_controls(offer.controls, wish.controls, offer.name)
    seed = int(controls.pop(SEED.name))
    try:
        if isinstance(model, GenerativeModule):
            strength = float(controls.pop(REDRAW.name))
            asked = (wish.size, wish.size) if photograph is None and wish.size else None
            settings: dict[str, Any] = {"content": photograph, "strength": strength, "controls": controls}
            return draw(model, wish.prompt, seeds=[seed], size=asked, **settings)[0]
        assert photograph is not None  # noqa: S101 - see `check`
        return _restyled(model, offer.uses(wish.by), wish, photograph, say, {"controls": controls, "seed": seed})
    except TooLargeError as error:
        raise ImpastoError("The picture does not fit into memory: choose a smaller size.") from error


def _restyled(
    model: StyleTransferModule,
    uses: frozenset[Condition],
    wish: Wish,
    photograph: Tensor,
    say: Say,
    how: Mapping[str, Any],
) -> Tensor:
    mask = None
    if "region" in uses and wish.region is not None:
        mask = fit_mask(wish.region, photograph.shape[-2], photograph.shape[-1])
    prompt = wish.prompt.strip() if "text" in uses else None
    if prompt is None or not has_clauses(model):
        style = wish.style if "image" in uses else None
        return paint(model, photograph, style=style, prompt=prompt, mask=mask, **how)
    found = _regions(prompt, mask, photograph, str(model.device), say)
    return paint_regions(
        photograph, found, lambda style, mask: paint(model, photograph, prompt=style, mask=mask, **how)
    )[0]


def _regions(prompt: str, mask: Tensor | None, photograph: Tensor, device: str, say: Say) -> list[Found]:
    """Find where the styles of a prompt go, as `impasto stylize` does; what was drawn needs nobody who looks."""
    parsed = parse_prompt(prompt)
    if parsed.remainder:
        say(f"Not understood, and left out of the prompt: '{parsed.remainder}'.")
    clauses = parsed.clauses
    if mask is not None:
        if len(clauses) > 1:
            raise ImpastoError("One region is drawn, and the prompt has several styles: leave one of both away.")
        task = Task(clauses[0].style, clauses[0].where)
        return [Found(task, locate(photograph, [GivenMask(mask)], GivenMask(mask))[0])]
    return [
        Found(Task(*clause), region)
        for clause, region in zip(clauses, _looked_up(clauses, photograph, device, say), strict=True)
    ]


def _looked_up(clauses: tuple[Clause, ...], photograph: Tensor, device: str, say: Say) -> list[Any]:
    places = [clause.where for clause in clauses]
    if not any(places):
        return [None] * len(places)
    try:
        return locate(photograph, places, find_grounder("auto", Settings(device, say=say)))
    except ImpastoError as error:
        names = " and ".join(str(place) for place in places if isinstance(place, Where))
        raise ImpastoError(f"Nobody here finds '{names}' in the photograph: draw it with the brush instead.") from error


@contextmanager
def _heard(model: StyleTransferModule | GenerativeModule, watcher: Watcher | None) -> Iterator[None]:
    model.on_iteration = watcher
    try:
        yield
    finally:
        model.on_iteration = None


def _device(model: StyleTransferModule | GenerativeModule) -> str:
    return torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type
