"""What ``auto`` means: one source for all networks of a model; see `weights`, the door."""

import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Literal, NamedTuple, cast

from lightning_modules.errors import ImpastoError
from lightning_modules.weights.agreement import agree

WeightsSource = Literal["auto", "pretrained", "hed", "embedded", "random"]


class Need(NamedTuple):
    """A network as `resolve` asks for it.

    Attributes:
        name: For the sentence that says what was taken.
        present: Whether the pretrained file is in a cache or within reach.
        fetch: Brings it into the cache and reads it; an ImpastoError says why it is not to be had.
    """

    name: str
    present: Callable[[], bool]
    fetch: Callable[[], object]


def resolve(weights: WeightsSource, *needs: Need) -> WeightsSource:
    """Return the source that ``auto`` stands for; any other source stands for itself.

    ``auto`` is ``pretrained`` where every pretrained file is in a cache or can be fetched, else ``embedded``. A
    sentence on stderr says which and why. In a distributed run the first rank decides for all.

    Args:
        weights: The source asked for.
        needs: All networks that must come from one source.

    Raises:
        ImpastoError: If ``auto`` is left to processes that cannot agree.
    """
    if weights != "auto":
        return weights
    names = ", ".join(need.name for need in needs)
    return cast(WeightsSource, agree(names, partial(_decide, names, needs)))


def _decide(names: str, needs: tuple[Need, ...]) -> WeightsSource:
    taken, reason = _look(needs)
    say_once(f"{names}: taking {taken} weights ({reason}).")
    return taken


def _look(needs: tuple[Need, ...]) -> tuple[WeightsSource, str]:
    absent = next((need.name for need in needs if not need.present()), None)
    if absent is not None:
        return "embedded", f"the pretrained file of {absent} is not in the cache and cannot be fetched"
    try:
        for need in needs:
            need.fetch()
    except ImpastoError as error:
        return "embedded", str(error).removesuffix(".")
    return "pretrained", f"{'its file is' if len(needs) == 1 else 'their files are'} in the cache or within reach"


@cache
def say_once(sentence: str) -> None:
    """Write a sentence to stderr, once a process."""
    sys.stderr.write(f"{sentence}\n")
