"""Attention without scaling: exact, in memory that grows with the places and not with the pairs of places."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention
from torch.utils.checkpoint import checkpoint

from lightning_modules.losses.precision import at_least_float32, without_autocast

BUDGET = 2**28
"""Bytes of logits that are in memory at once where no kernel does without."""


def attend(queries: Tensor, keys: Tensor, values: Tensor, *, budget: int = BUDGET) -> Tensor:
    """Gather the values of the places whose keys resemble a query.

    ``softmax_j(q_i . k_j) v_j``

    Args:
        queries: ``(B, N, C)``. Half precision is computed and returned in float32: logits are sums over hundreds of
            channels, too large for it without scaling.
        keys: ``(B, M, C)``.
        values: ``(B, M, D)``.
        budget: Bytes; see `BUDGET`.

    Returns:
        ``(B, N, D)``.

    Source: Park & Lee 2019 (SANet), eq. 1.

    Examples:
        >>> import torch
        >>> places = torch.eye(2).mul(100).unsqueeze(0)
        >>> attend(places[:, :1], places, torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([[[1., 2.]]])
    """
    with without_autocast(queries):
        # Kernels refuse places whose channels do not lie side by side, and silently make way for the matrix of pairs.
        parts = [at_least_float32(part).contiguous() for part in (queries, keys, values)]
        if torch.compiler.is_exporting() or _has_kernel(*parts):
            heads = [part.unsqueeze(1) for part in parts]
            return F.scaled_dot_product_attention(heads[0], heads[1], heads[2], scale=1.0).squeeze(1)
        row = len(keys) * keys.shape[1] * parts[0].element_size()
        return attend_in_chunks(parts[0], parts[1], parts[2], max(1, budget // row))


def attend_in_chunks(queries: Tensor, keys: Tensor, values: Tensor, rows: int) -> Tensor:
    """Do what `attend` does, by plain products, for ``rows`` queries of every picture at a time.

    The gradient computes the logits of a chunk again instead of keeping them.
    """

    def gather(chunk: Tensor) -> Tensor:
        return torch.bmm(torch.bmm(chunk, keys.transpose(1, 2)).softmax(-1), values)

    chunks = queries.split(rows, dim=1)
    if torch.is_grad_enabled() and any(part.requires_grad for part in (queries, keys, values)):
        again = [checkpoint(gather, chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
        return torch.cat(again, dim=1)
    return torch.cat([gather(chunk) for chunk in chunks], dim=1)


def tokens(maps: Tensor) -> Tensor:
    """Return the places ``(B, H W, C)`` of maps ``(B, C, H, W)``."""
    return maps.flatten(2).transpose(1, 2)


def as_maps(places: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps ``(B, C, *size)`` of places ``(B, H W, C)``."""
    height, width = size
    return places.transpose(1, 2).reshape(len(places), -1, height, width)


def _has_kernel(queries: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Say whether `F.scaled_dot_product_attention` has a kernel for these that never makes the matrix of all pairs."""
    if queries.device.type == "cpu":
        return queries.shape[-1] == values.shape[-1]
    if queries.device.type != "cuda":
        return False
    heads = [part.unsqueeze(1) for part in (queries, keys, values)]
    asked = SDPAParams(heads[0], heads[1], heads[2], None, 0.0, False, False)
    return can_use_flash_attention(asked) or can_use_efficient_attention(asked)
