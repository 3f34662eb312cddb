"""What a method hands over to be exported: a network of tensors alone, and what goes into it. No Lightning in here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from lightning_modules.controls import STRENGTH, Control, Value
from lightning_modules.errors import ImpastoError

LEAST_SIDE = 64
"""Of every picture, in pixels: below, the deepest maps have too few places for their statistics."""
ALPHA = STRENGTH.name


class Given(NamedTuple):
    """An input of a graph.

    Attributes:
        name: Of the argument.
        shape: Whole numbers, and names of sides that may have any length from `LEAST_SIDE` on.
        help: One sentence, with the unit.
        default: Where it is one number that may be left as it is.
        low: Least value.
        high: Greatest value.
    """

    name: str
    shape: tuple[int | str, ...]
    help: str
    default: float | None = None
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Graph:
    """A network of tensors alone.

    Attributes:
        network: Takes ``inputs`` in their order, and returns ``(1, 3, H, W)`` in [0, 1], the content's H and W.
        inputs: What goes in; the content first.
        fixed: Controls with the value that they have for ever.
        codes: What stands for each name where ``code`` is an input.
    """

    network: nn.Module
    inputs: tuple[Given, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    codes: Mapping[str, list[float]] = field(default_factory=dict)


def picture(name: str, text: str) -> Given:
    """Return an input of one picture of any size."""
    return Given(
        name, (1, 3, f"{name}_height", f"{name}_width"), f"{text}, RGB in [0, 1], {LEAST_SIDE} pixels at least"
    )


def numbers(controls: tuple[Control, ...]) -> tuple[Given, ...]:
    """Return the inputs of those controls that may change."""
    return tuple(
        Given(control.name, (1,), control.help, float(control.default), control.low, control.high)
        for control in controls
        if _changes(control)
    )


def fixed(controls: tuple[Control, ...]) -> dict[str, Value]:
    """Return the controls that may not, with their values."""
    return {control.name: control.default for control in controls if not _changes(control)}


def _changes(control: Control) -> bool:
    return isinstance(control.default, float) and not control.fixed_in_graphs


def refuse(owner: str, *, optimises: bool) -> ImpastoError:
    """Return why a method has no graph."""
    if optimises:
        return ImpastoError(
            f"{owner} fits a network to every picture, which no ONNX graph does: only methods that paint in one pass "
            "can be exported to ONNX."
        )
    return ImpastoError(f"{owner} has no graph that could be exported to ONNX: it does not implement `portable`.")


class Painting(nn.Module):
    """The network of a `Graph`: a method's own `_render`, on pictures of any size and on numbers that are tensors.

    Args:
        model: The method, in evaluation mode.
        paint: Takes the inputs by name.
        inputs: Their names.
    """

    def __init__(self, model: nn.Module, paint: Any, inputs: tuple[Given, ...]) -> None:
        super().__init__()
        self.model = model
        self._paint, self._names = paint, [given.name for given in inputs]

    def forward(self, *given: Tensor) -> Tensor:
        """Paint."""
        named = dict(zip(self._names, given, strict=True))
        height, width = named["content"].shape[-2:]
        painted: Tensor = self._paint(**named)
        return painted[..., :height, :width].float().clamp(0, 1)
