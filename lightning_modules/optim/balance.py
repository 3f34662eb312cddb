"""Loss weights that a paper leaves out, found by measuring gradients at the output image."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_modules.losses.distributed import gather_with_gradient

LARGEST = 1e4
"""No term is multiplied by more than this."""


class GradientBalance(nn.Module):
    """Scale loss terms so that their gradients at the output image stand in given ratios.

    Each term is divided by the norm of its own gradient with respect to the image and multiplied by its ratio and by
    the first term's gradient norm, so the first term keeps its natural size. Norms are running means over measurements
    and ranks: what an untrained network paints says little about the gradients at a picture.

    Args:
        terms: Names of the terms that are measured; the first one is the unit.
        every: Iterations between two measurements.
        until: Iteration after which the scales are held; 0 never measures, and all scales are 1.
        momentum: Weight of a measurement in the running mean, once there have been enough for a plain mean.

    Source: ours; CLAST publishes no loss weights.
    """

    norms: Tensor

    def __init__(self, terms: Sequence[str], *, every: int = 20, until: int = 2000, momentum: float = 0.2) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self.every = every
        self.until = until
        self.momentum = momentum
        self.register_buffer("norms", torch.zeros(len(self.terms)))
        self.measurements = 0  # on the host, where it is asked for every term of every step

    def weigh(
        self,
        ratios: Mapping[str, float],
        terms: Mapping[str, Tensor],
        image: Tensor,
        iteration: int,
        *,
        first: bool = True,
    ) -> dict[str, Tensor | float]:
        """Return what every term counts in this iteration, measured anew over all ranks where that is due.

        Args:
            ratios: What each of ``terms`` shall weigh, by name.
            terms: The loss terms; those that are not measured keep their ratio as weight.
            image: See `measure`.
            iteration: Of the training.
            first: Whether this is the first part of an effective batch: the one to measure, so that all parts have the
                same weights.
        """
        if first and self.due(iteration):
            norms = self.measure(terms, image)
            self.update(gather_with_gradient(norms[None]).mean(0))
        return {name: ratios[name] * self.scale(name) for name in terms}

    def due(self, iteration: int) -> bool:
        """Whether this iteration measures."""
        return iteration < self.until and iteration % self.every == 0

    def measure(self, terms: Mapping[str, Tensor], image: Tensor) -> Tensor:
        """Return each term's gradient norm at ``image`` ``(B, 3, H, W)``, in the order of ``self.terms``, ``(T,)``.

        The graph is kept, and no parameter's gradient is touched.
        """
        norms = []
        for name in self.terms:
            (gradient,) = torch.autograd.grad(terms[name], image, retain_graph=True)
            norms.append(gradient.float().norm())
        return torch.stack(norms)

    def update(self, norms: Tensor) -> None:
        """Fold one measurement ``(T,)``, already averaged over ranks, into the running mean."""
        self.measurements += 1
        self.norms.lerp_(norms.to(self.norms), max(self.momentum, 1 / self.measurements))

    def scale(self, name: str) -> Tensor | float:
        """Return what the term's YAML weight is multiplied by."""
        if name not in self.terms or not self.measurements:
            return 1.0
        unit, norm = self.norms[0], self.norms[self.terms.index(name)]
        # A term that moves nothing now may wake up later: it must not come back as the only one that counts.
        return torch.where(unit > 0, unit / norm.maximum(unit / LARGEST), 1.0)

    def get_extra_state(self) -> Tensor:
        """Return the number of measurements, for checkpoints."""
        return torch.tensor(self.measurements)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore it."""
        self.measurements = int(state)
