"""Losses that compare every picture of a batch with every other, over more pictures than fit into memory at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")
Loss = Callable[..., Tensor]


class LogitAccumulation(Generic[Batch]):
    """The gradient of a batch-wise loss over a large batch, with the activations of one part of it in memory.

    Let ``z_k`` be the vectors of part k of K. The gradient of ``L(z_1, .., z_K)`` is ``sum_k <dL/dz_k, dz_k/dtheta>``,
    and ``dL/dz_k`` needs the vectors alone. So every part is computed twice:

    1. `embedding`, without gradients: a call ``accumulation(name, loss, *rows)`` remembers the rows of the part;
    2. between the passes every loss is taken over the rows of all parts, and differentiated with respect to them;
    3. `training`, with gradients: the same call returns a term whose **mean over the parts** is the loss over all
       rows, in value and in gradient, as the mean over parts of a mean over pictures is the mean over all pictures.

    Outside of both passes a call is ``loss(*rows)``, so that a method has one formula for both.

    Random generators and autocast are those of the moment when a part was kept, in both passes: dropout, crops and
    noise come out alike, if the second pass draws up to its vectors what the first one drew. Weights must not move from
    the first pass to the end of the second, but for those that no vector depends on. What looks across a batch on its
    way to a vector, as a batch norm in training does, sees a part; it is not a loss, and stays so.

    Attributes:
        number: Of the part at hand, from 0.

    Source: NeAT section 2 (after ALADIN, Ruta et al. 2021); Gao et al. 2021 (GradCache), who derive it.

    Examples:
        >>> accumulation, encoder = LogitAccumulation(), torch.nn.Linear(2, 2)
        >>> for part in torch.eye(2):
        ...     accumulation.keep(part[None], part.device)
        >>> spread = lambda rows: rows.var(0).sum()
        >>> for part in accumulation.embedding():
        ...     with torch.no_grad():
        ...         _ = accumulation("spread", spread, encoder(part))
        >>> for part in accumulation.training():
        ...     (accumulation("spread", spread, encoder(part)) / 2).backward()
        >>> accumulated, encoder.weight.grad = encoder.weight.grad, None
        >>> spread(encoder(torch.eye(2))).backward()
        >>> torch.allclose(accumulated, encoder.weight.grad)
        True
    """

    def __init__(self) -> None:
        self.number = 0
        self._parts: list[_Part[Batch]] = []
        self._pools: dict[str, _Pool] = {}
        self._means: dict[str, Tensor] = {}
        self._stage: Literal["embedding", "training"] | None = None

    @property
    def active(self) -> bool:
        """Whether one of the passes is under way."""
        return self._stage is not None

    @property
    def count(self) -> int:
        """Parts of the pass that is under way; 1 outside of both."""
        return len(self._parts) if self.active else 1

    @property
    def more(self) -> bool:
        """Whether the pass has parts after the one at hand."""
        return self.number + 1 < self.count

    def keep(self, batch: Batch, device: torch.device) -> None:
        """Keep the inputs of the next part, and the state of what is random.

        Args:
            batch: Whatever `embedding` and `training` shall yield.
            device: Where it will be computed.
        """
        self._parts.append(_Part(batch, Moment(device)))

    def forget(self) -> None:
        """Drop all that is kept."""
        self._parts, self._pools = [], {}

    def embedding(self) -> Iterator[Batch]:
        """Yield every part, whose vectors are to be computed without gradients; then take the losses over all."""
        self._pools = {}
        yield from self._pass("embedding")
        for pool in self._pools.values():
            with self._parts[0].moment.again():
                pool.solve()

    def training(self) -> Iterator[Batch]:
        """Yield every part again, to be computed with gradients; then forget them."""
        yield from self._pass("training")
        self.forget()

    def __call__(self, name: str, loss: Loss, *rows: Tensor) -> Tensor:
        """Return a batch-wise loss, or what stands for it in a pass.

        Args:
            name: Of the loss; the same in both passes.
            loss: A function of ``rows`` that returns a scalar. It may hold parameters of its own, such as a head or a
                temperature, and may gather rows over ranks with `gather_with_gradient`.
            rows: ``(N, ...)`` each: vectors, and whatever else goes with pictures, such as labels.

        Returns:
            A scalar. In the first pass it is 0 and means nothing.

        Raises:
            RuntimeError: If the second pass brings a loss, or shapes, that the first did not.
        """
        if self._stage is None:
            return loss(*rows)
        if self._stage == "embedding":
            self._pools.setdefault(name, _Pool(loss)).add(rows)
            return rows[0].new_zeros(())
        if name not in self._pools:
            raise RuntimeError(f"The first pass did not embed {name}.")
        return self._pools[name].term(self.number, rows)

    def mean(self, name: str, value: Tensor) -> Tensor:
        """Return the mean of a value over the parts of the pass so far; outside of both the value itself."""
        before = self._means.get(name)
        self._means[name] = value if self.number == 0 or before is None else before.lerp(value, 1 / (self.number + 1))
        return self._means[name] if self.more else self._means.pop(name)

    def _pass(self, stage: Literal["embedding", "training"]) -> Iterator[Batch]:
        try:
            for number, part in enumerate(self._parts):
                self._stage, self.number = stage, number
                with part.moment.again():
                    yield part.batch
        finally:
            self._stage, self.number = None, 0


class Moment:
    """What decides how a computation comes out beside its inputs: random generators and autocast, as they are now.

    Args:
        device: Where the computation runs; its generator counts beside the host's.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._random = _random_states(device)
        self._autocast: dict[str, Any] | None = None
        if torch.amp.is_autocast_available(device.type):
            self._autocast = {
                "device_type": device.type,
                "enabled": torch.is_autocast_enabled(device.type),
                "dtype": torch.get_autocast_dtype(device.type),
                "cache_enabled": torch.is_autocast_cache_enabled(),
            }

    @contextmanager
    def again(self) -> Iterator[None]:
        """Compute as at that moment; afterwards the generators go on as if nothing had been drawn."""
        outside = _random_states(self._device)
        _set_random_states(self._device, self._random)
        try:
            with nullcontext() if self._autocast is None else torch.autocast(**self._autocast):
                yield
        finally:
            # Weights that were cast without gradients would be found again by the next pass, and get none.
            torch.clear_autocast_cache()
            _set_random_states(self._device, outside)


class _Part(NamedTuple, Generic[Batch]):
    batch: Batch
    moment: Moment


class _Pool:
    """The rows of all parts for one loss, then its value and gradients."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._parts: list[tuple[Tensor, ...]] = []
        self._value = torch.empty(0)
        self._gradients: list[list[Tensor | None]] = []
        self._parameters: list[Tensor] = []
        self._parameter_gradients: list[Tensor | None] = []

    def add(self, rows: tuple[Tensor, ...]) -> None:
        self._parts.append(tuple(row.detach() for row in rows))

    @torch.enable_grad()
    def solve(self) -> None:
        columns = list(zip(*self._parts, strict=True))
        joined = [torch.cat(column) for column in columns]
        vectors = [rows.requires_grad_() for rows in joined if rows.is_floating_point()]
        value = self._loss(*joined)
        self._parameters = _leaves(value, vectors)
        gradients = torch.autograd.grad(value, [*vectors, *self._parameters], allow_unused=True)
        self._value = value.detach()
        self._parameter_gradients = list(gradients[len(vectors) :])
        lengths = [[len(rows) for rows in column] for column in columns if column[0].is_floating_point()]
        count = len(self._parts)
        # A part's term counts by one over the number of parts, and only its own rows have this gradient.
        by_part = [
            [None] * count if gradient is None else [share * count for share in gradient.split(sizes)]
            for gradient, sizes in zip(gradients[: len(vectors)], lengths, strict=True)
        ]
        self._gradients = [list(shares) for shares in zip(*by_part, strict=True)]

    def term(self, number: int, rows: tuple[Tensor, ...]) -> Tensor:
        shapes, before = [row.shape for row in rows], [row.shape for row in self._parts[number]]
        if shapes != before:
            raise RuntimeError(f"The second pass brings rows of the shapes {shapes}, and the first brought {before}.")
        vectors = [row for row in rows if row.is_floating_point()]
        known = [*self._gradients[number], *self._parameter_gradients]
        term: Tensor = _Known.apply(self._value, known, *vectors, *self._parameters)
        return term


class _Known(torch.autograd.Function):
    """A value whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor | None], *tensors: Tensor) -> Tensor:  # noqa: ARG004
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *[None if gradient is None else grads[0] * gradient for gradient in ctx.gradients])


def _leaves(value: Tensor, known: list[Tensor]) -> list[Tensor]:
    """Return the tensors that want a gradient of ``value``, in the order of a walk through its graph, but ``known``."""
    found: list[Tensor] = []
    seen, waiting = set(), [value.grad_fn]  # nodes themselves, which live while they are held: ids would come again
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and not any(leaf is tensor for tensor in known):
            found.append(leaf)
        waiting += [following for following, _ in node.next_functions]
    return found


def _random_states(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *(get() for get, _ in _generators(device))]


def _set_random_states(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for state, (_, put) in zip(states[1:], _generators(device), strict=True):
        put(state)


def _generators(device: torch.device) -> list[tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
    """Return how to read and to set the device's own generator, where it has one."""
    if device.type in {"cpu", "meta"}:
        return []
    module = torch.get_device_module(device)
    where = () if device.type == "mps" else (device,)  # there is but one of these
    return [(lambda: module.get_rng_state(*where), lambda state: module.set_rng_state(state, *where))]
