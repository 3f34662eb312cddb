"""What every metric checks before it measures: options, batches, layers, and numbers that are none."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar, get_args

from torch import Tensor

from lightning_modules.errors import ImpastoError

Choice = TypeVar("Choice")


def one_of(value: Choice, choices: Any, name: str) -> Choice:
    """Return an option that exists.

    Args:
        value: The option.
        choices: A ``Literal`` with all there are.
        name: What is chosen, for the error message.

    Raises:
        ImpastoError: If there is no such choice; the sentence lists them.

    Examples:
        >>> from typing import Literal
        >>> one_of("mse", Literal["mse", "mae"], "norm")
        'mse'
    """
    known = get_args(choices)
    if value not in known:
        raise ImpastoError(f"There is no {name} {value!r}: take one of {', '.join(map(str, known))}.")
    return value


def check_finite(values: Tensor, what: str) -> Tensor:
    """Return numbers of which none is nan or infinite.

    Averages leave nan out and comparisons call it false, so it would become a number that looks like a measurement.

    Args:
        values: Any shape.
        what: One of them, for the error message.

    Raises:
        ImpastoError: If one of them is.
    """
    if not bool(values.isfinite().all()):
        raise ImpastoError(f"A {what} is nan or infinite: check the weights of the network behind it.")
    return values


def check_counts(first: Sequence[Any] | Tensor, second: Sequence[Any] | Tensor, names: Sequence[str]) -> None:
    """Refuse two sides of pairs that are not equally many.

    Args:
        first: Pictures.
        second: What they are compared with.
        names: What the two are, in one word each.

    Raises:
        ImpastoError: If their lengths differ.
    """
    if len(first) != len(second):
        raise ImpastoError(f"There are {len(first)} {names[0]} pictures and {len(second)} {names[1]}s.")


def check_vectors(*sides: Tensor) -> None:
    """Refuse vectors that cannot be compared pair by pair; torch would repeat a single one for all.

    Raises:
        ImpastoError: If they are not ``(B, D)`` all alike.
    """
    shapes = [tuple(side.shape) for side in sides]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise ImpastoError(f"Vectors to compare must be (B, D) on all sides, got {' and '.join(map(str, shapes))}.")


def check_sets(a: Tensor, b: Tensor) -> None:
    """Refuse two sets of vectors of different spaces.

    Raises:
        ImpastoError: If they are not ``(n, D)`` and ``(m, D)``.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ImpastoError(
            f"Two sets of features must be (n, D) and (m, D), got {tuple(a.shape)} and {tuple(b.shape)}."
        )


def check_maps(features: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Refuse feature maps that cannot be compared pair by pair and channel by channel.

    Args:
        features: Layer name to ``(B, C, H, W)``.
        target: The same layers as ``(B, C, h, w)``; more of them are ignored.

    Raises:
        ImpastoError: If there is no layer, one is missing, or batches or channels differ.
    """
    if not features:
        raise ImpastoError("There is no layer to compare: name at least one.")
    for name, ours in features.items():
        if name not in target:
            raise ImpastoError(f"The layer {name} is on one side only, the other has {', '.join(target) or 'none'}.")
        theirs = target[name]
        if ours.ndim != 4 or theirs.ndim != 4 or ours.shape[:2] != theirs.shape[:2]:
            shapes = f"{tuple(ours.shape)} and {tuple(theirs.shape)}"
            raise ImpastoError(f"The maps {name} must be (B, C, H, W) with the same B and C, got {shapes}.")
        if min(*ours.shape[2:], *theirs.shape[2:]) < 1:
            raise ImpastoError(f"The maps {name} have no pixel: take larger pictures.")


def check_layers(layers: Sequence[str], known: Collection[str] | None) -> tuple[str, ...]:
    """Return the names of layers, each of which counts once.

    Args:
        layers: The names.
        known: Those that the network has; None where it does not say.

    Raises:
        ImpastoError: If there is none, one comes twice, or the network has no such layer.
    """
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    if not names or len(set(names)) < len(names):
        raise ImpastoError(f"Layers to compare must be at least one, each once, got {', '.join(names) or 'none'}.")
    unknown = [name for name in names if known is not None and name not in known]
    if unknown:
        raise ImpastoError(f"There is no layer {unknown[0]!r}: take some of {', '.join(known or ())}.")
    return names
