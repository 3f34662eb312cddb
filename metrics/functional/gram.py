"""Distance of Gram matrices."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import check_maps, one_of
from metrics.functional.precision import has_float64

GramForm = Literal["johnson", "hw", "gatys", "frobenius"]
CHUNK_BYTES = 2**26

# What becomes of the difference of two matrices (B, C, C), and whether they are divided by C H W or by H W alone.
_FORMS: dict[GramForm, tuple[Callable[[Tensor], Tensor], bool]] = {
    "johnson": (lambda gap: gap.square().mean((1, 2)), True),
    "hw": (lambda gap: gap.square().mean((1, 2)), False),
    "gatys": (lambda gap: gap.square().sum((1, 2)) / 4, True),
    "frobenius": (lambda gap: gap.square().sum((1, 2)).sqrt(), True),
}
GRAM_FORMS: dict[GramForm, str] = {
    "johnson": "mean of squares of differences of F F^T / (C H W)",
    "hw": "mean of squares of differences of F F^T / (H W)",
    "gatys": "sum of squares of differences of F F^T over 4 (C H W)^2",
    "frobenius": "Frobenius norm of the difference of F F^T / (C H W)",
}


def gram_matrix(maps: Tensor, *, per_channel: bool = True) -> Tensor:
    """Return the products of channels, averaged over positions: ``F F^T / (C H W)``.

    Args:
        maps: ``(B, C, H, W)``, any floating type.
        per_channel: Divide by the number of channels too.

    Returns:
        ``(B, C, C)``, float64, in squared feature units; symmetric.

    Source: Johnson et al. 2016, eq. 3.

    Examples:
        >>> gram_matrix(torch.full((1, 2, 3, 4), 2.0))
        tensor([[[2., 2.],
                 [2., 2.]]], dtype=torch.float64)
    """
    maps = maps if has_float64(maps.device) else maps.cpu()
    batch, channels, height, width = maps.shape
    total = torch.zeros(batch, channels, channels, dtype=torch.float64, device=maps.device)
    # In slabs of rows: the maps of a large picture in float64 would take twice the memory of the pass itself.
    rows = max(1, CHUNK_BYTES // max(1, 8 * batch * channels * width))
    for slab in maps.split(rows, dim=2):
        flat = slab.double().flatten(2)  # B, C, rows * W
        total.baddbmm_(flat, flat.transpose(1, 2))
    return total / (height * width * (channels if per_channel else 1))


def gram_distance(
    features: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    form: GramForm = "johnson",
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the distance of the Gram matrices of every pair, summed over layers.

    Each layer gives, with ``D = G(features) - G(target)``:

    - ``johnson``: ``mean_ij D_ij^2``, ``G = F F^T / (C H W)``, as most public code has it;
    - ``hw``: the same with ``G = F F^T / (H W)``, larger by ``C^2``;
    - ``gatys``: ``sum_ij D_ij^2 / 4``, ``G = F F^T / (C H W)``; for maps of one size this is the paper's
      ``1 / (4 N^2 M^2) sum (G - A)^2`` with unnormalised matrices, and it is defined for two sizes as well;
    - ``frobenius``: ``sqrt(sum_ij D_ij^2)``, ``G = F F^T / (C H W)``.

    Args:
        features: Layer name to ``(B, C, H, W)``.
        target: The same layers as ``(B, C, h, w)``; height and width may differ.
        form: One of the above.
        weights: Of every layer; 1 by default. Gatys takes one over the number of layers.

    Returns:
        ``(B,)``, float64, at least 0, in feature units to the fourth power (squared for ``frobenius``); exactly 0 for
        equal maps.

    Raises:
        ImpastoError: If there is no such form, batches, channels or layers differ, or there are not as many weights.

    Source: Gatys et al. 2016, eq. 3-5; Johnson et al. 2016, eq. 3-4.

    Examples:
        >>> flat = torch.ones(1, 1, 2, 2)
        >>> gram_distance({"a": 2 * flat}, {"a": flat})
        tensor([9.], dtype=torch.float64)
    """
    reduce, per_channel = _FORMS[one_of(form, GramForm, "form of the Gram distance")]
    check_maps(features, target)
    check_weights(weights, len(features))
    distances = []
    for maps, weight in zip(features.items(), weights or [1.0] * len(features), strict=True):
        name, ours = maps
        gap = gram_matrix(ours, per_channel=per_channel) - gram_matrix(target[name], per_channel=per_channel)
        distances.append(weight * reduce(gap))
    return torch.stack(distances).sum(0)


def check_weights(weights: Sequence[float] | None, layers: int) -> None:
    """Refuse weights that are not one for every layer.

    Raises:
        ImpastoError: If there are more or fewer.
    """
    if weights is not None and len(weights) != layers:
        raise ImpastoError(f"There are {len(weights)} weights for {layers} layers of the Gram distance.")
