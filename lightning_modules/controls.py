"""Inference controls: what a method lets its user set when it paints, declared once for commands, page and YAML."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lightning_modules.errors import ImpastoError

Value = bool | int | float | str


@dataclass(frozen=True)
class Control:
    """One setting of inference.

    Args:
        name: As it is typed, with underscores.
        default: Its value where nothing is said; its type is the control's.
        help: One sentence, with the unit.
        low: Least value of a number.
        high: Greatest value of a number.
        choices: Of a text, all that it may be; empty for any text.
        fixed_in_graphs: Whether a number decides about sizes in the network, so that a graph that is exported has the
            value of that time; other numbers are inputs of the graph, and what is no number is fixed anyway.
    """

    name: str
    default: Value
    help: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    fixed_in_graphs: bool = False

    @property
    def option(self) -> str:
        """Its option of a command.

        Examples:
            >>> Control("prior_blur", 1.0, "Blur of the prior.").option
            '--prior-blur'
        """
        return "--" + self.name.replace("_", "-")

    def describe(self) -> str:
        """Return its option, what it takes, its default and its sentence, in one line.

        Examples:
            >>> Control("blur", 7.0, "Blur of the prior, in pixels.", low=0.0, high=64.0).describe()
            '--blur (0 to 64, default 7): Blur of the prior, in pixels.'
        """
        return f"{self.option} ({self.takes()}, default {_text(self.default)}): {self.help}"

    def takes(self) -> str:
        """Return what it may be, in words."""
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, str):
            return " or ".join(self.choices) or "text"
        kind = "whole number" if isinstance(self.default, int) else "number"
        if math.isinf(self.low) and math.isinf(self.high):
            return f"any {kind}"
        if math.isinf(self.high):
            return f"{kind} from {_text(self.low)}"
        return f"{_text(self.low)} to {_text(self.high)}" if not math.isinf(self.low) else f"up to {_text(self.high)}"

    def parse(self, given: Value) -> Value:
        """Return a value of the control's type and range.

        Args:
            given: The value, or the text that stands for it.

        Raises:
            ImpastoError: If it is none.
        """
        try:
            value = self._converted(given)
        except (TypeError, ValueError, KeyError) as error:
            raise ImpastoError(f"The control {self.name} takes {self.takes()}, not {given!r}.") from error
        if isinstance(value, str):
            fits = not self.choices or value in self.choices
        else:
            fits = self.low <= value <= self.high and math.isfinite(value)
        if not fits:
            raise ImpastoError(f"The control {self.name} takes {self.takes()}, not {given!r}.")
        return value

    def _converted(self, given: Value) -> Value:
        if isinstance(self.default, bool):
            return _TRUTH[str(given).lower()]
        if isinstance(self.default, str):
            return str(given)
        if isinstance(given, bool):
            raise TypeError
        number = float(given)
        if isinstance(self.default, float):
            return number
        if not number.is_integer():
            raise ValueError
        return int(number)


STRENGTH = Control(
    "alpha", 1.0, "Strength: 0 leaves the content's own look, 1 is as trained, more exaggerates.", low=0.0, high=3.0
)
"""The one control that every method of style transfer has."""
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def preset(declared: Sequence[Control], given: Mapping[str, Value] | None, owner: str) -> tuple[Control, ...]:
    """Return controls with other defaults; arguments and errors are those of `resolve_controls`."""
    values = resolve_controls(declared, given, owner)
    return tuple(replace(control, default=values[control.name]) for control in declared)


def resolve_controls(declared: Sequence[Control], given: Mapping[str, Value] | None, owner: str) -> dict[str, Value]:
    """Return a value for every declared control.

    Args:
        declared: The controls of a method.
        given: Some of their values, or texts that stand for them.
        owner: Name of the method.

    Raises:
        ImpastoError: If there is no such control, or a value does not fit.
    """
    known = {control.name: control for control in declared}
    given = {name.replace("-", "_"): value for name, value in (given or {}).items()}
    for name in given:
        if name not in known:
            listing = f"it has {', '.join(known)}" if known else "it has none"
            raise ImpastoError(f"{owner} has no control '{name}': {listing}.")
    return {name: control.parse(given.get(name, control.default)) for name, control in known.items()}


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
