"""The picture that NeAT edits: the content in the colours of the style, with its fine detail taken away.

Nothing here lets a gradient through, and half precision is computed and returned in float32, whatever autocast says.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.losses.precision import at_least_float32, without_autocast, without_gradient
from lightning_modules.neat.filters import bilateral_filter, default_sigma, gaussian_blur
from lightning_modules.neat.portable import power_in_graph

Step = Literal["recolour", "gaussian", "bilateral"]

_LEAST, _MOST = 1e-8, 1e8  # what variances are clamped to: ARF's singular values


class Colours(NamedTuple):
    """Mean and covariance of the pixels of each picture.

    Attributes:
        mean: ``(B, 3)``.
        covariance: ``(B, 3, 3)``, divided by the number of pixels.
    """

    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class PriorSettings:
    """How the content prior is made.

    Attributes:
        steps: What is done, in this order; what is not listed is left out.
        gaussian: Taps of the Gaussian, an odd number of pixels.
        gaussian_sigma: Its deviation in pixels; by OpenCV's rule where it is not given, 1.4 of 7 taps.
        bilateral: Diameter of the bilateral filter, an odd number of pixels.
        sigma_color: Its deviation in colour, in levels of 255; blur does not scale it.
        sigma_space: Its deviation in space, in pixels.
        strength: How far the colours go from the content's (0) to the style's (1).

    Raises:
        ImpastoError: If a size is no odd number, a deviation not positive, or the strength not in [0, 1].

    Source: NeAT, sections 4 and 5.1. The Gaussian's deviation, and to which of its two the bilateral filter's "sigma
        value of 100" belongs, are not in the paper.
    """

    steps: tuple[Step, ...] = ("recolour", "gaussian", "bilateral")
    gaussian: int = 7
    gaussian_sigma: float | None = None
    bilateral: int = 25
    sigma_color: float = 100.0
    sigma_space: float = 100.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name, size in (("gaussian", self.gaussian), ("bilateral", self.bilateral)):
            if size < 1 or size % 2 == 0:
                raise ImpastoError(f"The prior's size '{name}' is {size}: give an odd number of pixels.")
        for name, sigma in (
            ("gaussian_sigma", self.gaussian_sigma),
            ("sigma_color", self.sigma_color),
            ("sigma_space", self.sigma_space),
        ):
            if sigma is not None and not sigma > 0:
                raise ImpastoError(f"The prior's '{name}' is {sigma}: give a number above 0.")
        if not 0 <= self.strength <= 1:
            raise ImpastoError(f"The prior's strength is {self.strength}: give a number from 0 to 1.")


@without_gradient
def colour_statistics(pictures: Tensor) -> Colours:
    """Return mean and covariance of the colours.

    ``mean = 1/N sum x``, ``covariance = 1/N sum (x - mean)(x - mean)^T``.

    Args:
        pictures: ``(B, 3, H, W)``, any range and size.

    Source: ARF, ``match_colors_for_image_set`` of the public code.

    Examples:
        >>> colours = colour_statistics(torch.full((1, 3, 4, 5), 0.25))
        >>> colours.mean.tolist(), float(colours.covariance.abs().max())
        ([[0.25, 0.25, 0.25]], 0.0)
    """
    pixels = at_least_float32(pictures).flatten(2)
    mean = pixels.mean(2)
    centred = pixels - mean.unsqueeze(2)
    slip = centred.mean(2)  # what rounding left over, which a small covariance would be divided into
    # Plane by plane: a matrix product of millions of rows would be rounded more, and on a GPU perhaps to TF32.
    products = torch.stack([(centred * plane.unsqueeze(1)).mean(2) for plane in centred.unbind(1)], 2)
    return Colours(mean + slip, products - slip.unsqueeze(2) * slip.unsqueeze(1))


@without_gradient
def recolour(
    content: Tensor, target: Colours, own: Colours | None = None, *, strength: float | Tensor = 1.0, clamp: bool = True
) -> Tensor:
    """Give the content the mean and the covariance of other colours, by the affine map with symmetric square roots.

    ``A (x - mean_c) + mean_s``, ``A = Cov_s^(1/2) Cov_c^(-1/2)``, the eigenvalues of both clamped to [1e-8, 1e8], so
    that a picture of a single colour takes on the mean of the style.

    Args:
        content: ``(B, 3, H, W)``.
        target: Colours of the style; a batch of one serves all contents.
        own: Colours of the content, where it is a part of a larger picture; measured where they are not given.
        strength: Weight of the map against the identity: below 1, what would be clamped keeps more of its detail,
            and the picture more of its own colours.
        clamp: Clamp to [0, 1].

    Returns:
        ``(B, 3, H, W)``.

    Source: ARF, ``match_colors_for_image_set`` of the public code; NeAT, section 4, and section 6 on what clamping
        costs.
    """
    content = at_least_float32(content)
    own = colour_statistics(content) if own is None else own
    with without_autocast(content):
        matrix = _power(target.covariance, 0.5) @ _power(own.covariance, -0.5)
        matrix = (
            torch.eye(3, dtype=matrix.dtype, device=matrix.device)
            .lerp(matrix, _like(strength, matrix))
            .to(content.dtype)
        )
    source = own.mean.to(content.dtype)
    goal = source.lerp(target.mean.to(content.dtype), _like(strength, source))
    centred = content - source[:, :, None, None]
    result = goal[:, :, None, None].expand_as(centred).clone()
    for channel in range(3):
        result.addcmul_(matrix[:, :, channel, None, None], centred[:, channel : channel + 1])
    return result.clamp_(0, 1) if clamp else result


@without_gradient
def content_prior(
    content: Tensor,
    target: Colours,
    *,
    settings: PriorSettings,
    blur: float = 1.0,
    own: Colours | None = None,
    strength: float | Tensor = 1.0,
) -> Tensor:
    """Return the picture that NeAT's colour differences are added to, before its weight.

    Args:
        content: ``(B, 3, H, W)`` in [0, 1].
        target: Colours of the style.
        settings: Which steps, how large, in which order.
        blur: Scales what both filters have in pixels, sizes and deviations, continuously: 0 leaves the filters out, 1
            is the setting, and 2 does to a picture of twice the side what 1 does to this one. Edges that the bilateral
            filter keeps stay edges, since its deviation in colour is not scaled.
        own: As for `recolour`: the content's colours where it is a tile, which must have `prior_reach` pixels around
            what is used of it.
        strength: Share of that of the settings, in [0, 1].

    Returns:
        ``(B, 3, H, W)`` in [0, 1].

    Raises:
        ValueError: If ``blur`` is negative.

    Source: NeAT, sections 4 and 5.1.
    """
    prior = at_least_float32(content)
    gaussian, bilateral = _radii(settings, blur)
    sigma = settings.gaussian_sigma or default_sigma((settings.gaussian - 1) / 2)
    for step in settings.steps:
        if step == "recolour":
            prior = recolour(prior, target, own, strength=settings.strength * strength)
        elif step == "gaussian" and gaussian:
            prior = gaussian_blur(prior, gaussian, sigma * blur)
        elif step == "bilateral" and bilateral:
            prior = bilateral_filter(prior, bilateral, settings.sigma_color / 255, settings.sigma_space * blur)
    return prior.clamp(0, 1)  # means of numbers up to 1 may be rounded to more


def prior_reach(settings: PriorSettings, blur: float = 1.0) -> int:
    """Return how many pixels away from a pixel its prior looks, statistics of the whole picture apart.

    Examples:
        >>> prior_reach(PriorSettings()), prior_reach(PriorSettings(), blur=0.5), prior_reach(PriorSettings(), blur=0)
        (15, 8, 0)
    """
    gaussian, bilateral = _radii(settings, blur)
    reaches = {"gaussian": math.ceil(gaussian), "bilateral": math.ceil(bilateral)}
    return sum(reaches.get(step, 0) for step in settings.steps)


def _like(weight: float | Tensor, other: Tensor) -> float | Tensor:
    return weight.to(other) if isinstance(weight, Tensor) else weight


def _radii(settings: PriorSettings, blur: float) -> tuple[float, float]:
    if blur < 0:
        raise ValueError(f"the blur of a prior is 0 or more, got {blur}")
    return blur * (settings.gaussian - 1) / 2, blur * (settings.bilateral - 1) / 2


def _power(covariance: Tensor, exponent: float) -> Tensor:
    """Return a power of symmetric matrices with clamped eigenvalues, in double precision where the device has it."""
    if torch.compiler.is_exporting():  # no graph has eigenvectors
        return power_in_graph(covariance.double(), exponent, _LEAST, _MOST)
    wide = covariance if covariance.device.type == "mps" else covariance.double()
    values, vectors = torch.linalg.eigh(wide)
    power: Tensor = (vectors * values.clamp(_LEAST, _MOST).pow(exponent).unsqueeze(-2)) @ vectors.mT
    return power
