"""Distance of feature statistics."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from metrics.functional.checks import check_maps, one_of
from metrics.functional.precision import has_float64

MomentForm = Literal["mse", "l2"]
# What becomes of the differences (B, C) of one layer, and what is added to its variances.
_FORMS: dict[MomentForm, tuple[Callable[[Tensor], Tensor], float]] = {
    "mse": (lambda gap: gap.square().mean(1), 1e-5),
    "l2": (lambda gap: gap.square().sum(1).sqrt(), 0.0),
}


def style_distance(
    features: Mapping[str, Tensor], target: Mapping[str, Tensor], form: MomentForm = "mse", eps: float | None = None
) -> Tensor:
    """Return the distance of channel means and standard deviations of every pair, summed over layers.

    - ``mse``: ``sum_l mean_c((mu(F_lc) - mu(S_lc))^2) + mean_c((sigma(F_lc) - sigma(S_lc))^2)``, as public code has it;
    - ``l2``: ``sum_l |mu(F_l) - mu(S_l)|_2 + |sigma(F_l) - sigma(S_l)|_2``, as ContraAST prints it.

    ``sigma = sqrt(var + eps)`` with the unbiased variance. Moments are summed in float64: maps of hundreds of pixels a
    side lose digits otherwise.

    Args:
        features: Layer name to ``(B, C, H, W)``.
        target: The same layers as ``(B, C, h, w)``; height and width may differ.
        form: One of the above.
        eps: Added to the variance, in squared feature units; by default 1e-5 for ``mse`` and 0 for ``l2``.

    Returns:
        ``(B,)``, float64, at least 0, in squared feature units, for ``l2`` in feature units; exactly 0 for equal maps.

    Raises:
        ImpastoError: If there is no such form, or batches, channels or layers differ.
        ValueError: If a map is a single pixel, which has no standard deviation.

    Source: Huang & Belongie 2017, eq. 13, with squared distances as in pytorch-AdaIN ``net.py``; ContraAST, eq. 1,
    which names neither the estimator of sigma nor an eps.

    Examples:
        >>> flat = torch.ones(1, 4, 2, 2)
        >>> [float(style_distance({"a": 4 * flat}, {"a": flat}, form)) for form in ("mse", "l2")]
        [9.0, 6.0]
    """
    reduce, usual = _FORMS[one_of(form, MomentForm, "form of the style distance")]
    check_maps(features, target)
    eps = usual if eps is None else eps
    distances = []
    for name, maps in features.items():
        (mean, std), (goal_mean, goal_std) = _moments(maps, eps), _moments(target[name], eps)
        distances.append(reduce(mean - goal_mean) + reduce(std - goal_std))
    return torch.stack(distances).sum(0)


def _moments(maps: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    if maps.shape[-2] * maps.shape[-1] < 2:
        raise ValueError(f"a single-pixel feature map has no standard deviation, got {tuple(maps.shape)}")
    maps = maps if has_float64(maps.device) else maps.cpu()
    shift = maps.mean((2, 3), keepdim=True)
    centred = maps - shift
    # Sums in float64 over centred float32 maps: as exact as a cast of the maps, at a third of its time.
    n = maps.shape[-2] * maps.shape[-1]
    first = centred.sum((2, 3), dtype=torch.float64)
    second = centred.square().sum((2, 3), dtype=torch.float64)
    variance = (second - first.square() / n) / (n - 1)
    return shift.double().flatten(1) + first / n, variance.clamp(min=0).add(eps).sqrt()
