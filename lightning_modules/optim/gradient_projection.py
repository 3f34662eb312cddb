"""Gradients of a positive, an anchor and a negative, combined into one: NSYNC's projections and their ablations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Role = Literal["positive", "anchor", "negative"]
Variant = Literal["TI", "CTM", "CTMA", "CTO", "CTOA"]
Algorithm = Literal["paper", "reference"]

ROLES: tuple[Role, ...] = ("positive", "anchor", "negative")
"""In the order in which batches have them."""
VANISHING = 1e-12
"""A vector whose squared length is this little beside the other's has no direction worth a projection."""

_ANCHORED = ("CTMA", "CTOA")


def roles_of(variant: Variant, algorithm: Algorithm = "paper") -> tuple[Role, ...]:
    """Return the roles whose gradients a variant uses: all others need not be computed.

    Examples:
        >>> roles_of("CTOA"), roles_of("CTOA", "reference"), roles_of("TI")
        (('positive', 'anchor', 'negative'), ('positive', 'negative'), ('positive',))
    """
    if variant == "TI":
        return ("positive",)
    if variant not in _ANCHORED or (variant == "CTOA" and algorithm == "reference"):
        return ("positive", "negative")
    return ROLES


def project(u: Tensor, v: Tensor) -> Tensor:
    r"""Return the component of ``u`` along ``v``.

    ``proj_v(u) = (u . v / v . v) v``, with products in double precision: of gradients that a loss scale has not lifted
    single precision loses the squares. It is 0 where ``v`` vanishes beside ``u`` or is not finite.

    Args:
        u: ``(..., N)``.
        v: ``(..., N)``.

    Returns:
        ``(..., N)``, float64.

    Source: NSYNC, eq. 2; the guard is ours.
    """
    u, v = u.double(), v.double()
    length = v.square().sum(-1, keepdim=True)
    share = (u * v).sum(-1, keepdim=True) / length
    sound = (length > VANISHING * u.square().sum(-1, keepdim=True)) & share.isfinite()
    return torch.where(sound, share * v, 0.0)


def combine_roles(roles: Mapping[str, Tensor], variant: Variant, algorithm: Algorithm = "paper") -> Tensor:
    """Return the direction that a variant makes of its roles' gradients.

    ======= ======================================= ===========================
    variant paper                                   reference, ``m = p + n``
    ======= ======================================= ===========================
    TI      ``p``                                   ``p``
    CTM     ``(p + n) / 2``                         ``p + n / 2``
    CTMA    ``(p + a + n) / 3``                     ``p + 2 n / 3 + a / 3``
    CTO     ``p - proj_n(p)``                       ``p - proj_m(p)``
    CTOA    ``p - proj_n(p) + proj_a(p)``           ``2 p - proj_m(p)``
    ======= ======================================= ===========================

    Args:
        roles: From each of `roles_of` to ``(..., N)``; leading axes are independent vectors.
        variant: Which rule.
        algorithm: ``paper`` is eq. 2 with the gradients of the roles; ``reference`` is what the public code computes,
            in closed form: it never clears ``.grad`` between its backward passes, so that its negative is ``p + n`` and
            its anchor ``p + n + a``, and it projects the positive on itself in place of the anchor.

    Returns:
        ``(..., N)``, float64.

    Source: NSYNC, eq. 2 and section IV-H; giddyyupp/NSYNC @2d20a62, training loop of the versions 4.x and 5.x.
    """
    p = roles["positive"].double()
    if variant == "TI":
        return p
    n = roles["negative"].double()
    faithful = algorithm == "paper"
    if variant == "CTM":
        return (p + n) / 2 if faithful else p + n / 2
    if variant == "CTMA":
        a = roles["anchor"].double()
        return (p + a + n) / 3 if faithful else p + 2 * n / 3 + a / 3
    orthogonal = p - project(p, n if faithful else p + n)
    if variant == "CTO":
        return orthogonal
    return orthogonal + (project(p, roles["anchor"]) if faithful else p)


@dataclass(frozen=True)
class GradientProjection:
    """A `lightning_modules.optim.roles.Combine` that treats the tensors of a group as one vector.

    Args:
        variant: See `combine_roles`.
        algorithm: See `combine_roles`.
        groups: Number of every parameter's group; None where each is a group of its own, whichever of them a step
            reaches.
        rows: Without groups, take each row of a parameter as a vector of its own.
    """

    variant: Variant
    algorithm: Algorithm = "paper"
    groups: tuple[int, ...] | None = None
    rows: bool = False

    def __call__(self, gradients: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
        """Return the gradient of every parameter.

        Args:
            gradients: From each of `roles_of` to the gradients of all parameters, averaged over micro-batches and
                ranks: a projection is not linear.

        Returns:
            Tensors with the shape and type of the positive's.
        """
        combined = [combine_roles(vectors, self.variant, self.algorithm) for vectors in self._vectors(gradients)]
        return self._split(combined, gradients["positive"])

    def measures(self, gradients: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
        """Return how long the roles' gradients are and which way they point, on average over the groups.

        Returns:
            ``norm_<role>`` for every role; ``cos_negative`` and ``cos_anchor``, in [-1, 1] and 0 where a vector
            vanishes, are the positive's with them.
        """
        found: dict[str, list[Tensor]] = {}
        for vectors in self._vectors(gradients):
            lengths = {role: vector.double().norm(dim=-1) for role, vector in vectors.items()}
            for role, length in lengths.items():
                found.setdefault(f"norm_{role}", []).append(length.mean())
            for role in lengths.keys() - {"positive"}:
                dot = (vectors["positive"].double() * vectors[role].double()).sum(-1)
                cosine = (dot / (lengths["positive"] * lengths[role])).nan_to_num(0.0, 0.0, 0.0)
                found.setdefault(f"cos_{role}", []).append(cosine.mean())
        return {name: torch.stack(values).mean().float() for name, values in sorted(found.items())}

    def _vectors(self, gradients: Mapping[str, Sequence[Tensor]]) -> list[dict[str, Tensor]]:
        """Return from role to vector, for every group."""
        members = self._members(len(gradients["positive"]))
        return [
            {role: self._joined([tensors[number] for number in group]) for role, tensors in gradients.items()}
            for group in members
        ]

    def _joined(self, tensors: Sequence[Tensor]) -> Tensor:
        if self.rows and self.groups is None:
            return tensors[0].reshape(len(tensors[0]), -1)
        return torch.cat([tensor.flatten() for tensor in tensors])

    def _members(self, count: int) -> list[list[int]]:
        if self.groups is None:
            return [[number] for number in range(count)]
        if len(self.groups) != count:
            raise ValueError(f"{count} gradients came for {len(self.groups)} parameters in groups.")
        return [[i for i, group in enumerate(self.groups) if group == which] for which in dict.fromkeys(self.groups)]

    def _split(self, combined: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        members = self._members(len(like))
        parts: dict[int, Tensor] = {}
        for vector, group in zip(combined, members, strict=True):
            sizes = [like[number].numel() for number in group]
            parts |= dict(zip(group, vector.flatten().split(sizes), strict=True))
        return [parts[number].view_as(tensor).to(tensor) for number, tensor in enumerate(like)]
