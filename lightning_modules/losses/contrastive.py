"""Pull together what shares a label, push apart what does not."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.losses.precision import at_least_float32, without_autocast


def supervised_contrastive_loss(
    z: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.07,
    base_temperature: float = 0.07,
    anchors: Tensor | None = None,
    candidates: Tensor | None = None,
    candidate_labels: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Return the supervised contrastive loss over all anchors.

    ``t/t_base * mean_i -1/|P(i)| sum_{p in P(i)} log(exp(z_i.z_p/t) / sum_{a != i} exp(z_i.z_a/t))``, where ``P(i)``
    are the other candidates with the label of anchor ``i``. An anchor without positives contributes 0 and counts in
    the mean.

    On several ranks, either gather vectors and labels and call this on the whole set on every rank (right for
    uneven batches too), or keep the anchors local and pass the gathered set as ``candidates`` (each rank pays for its
    own anchors only; right when every rank has as many anchors). Both give the gradient of one process under DDP if
    the gather is `lightning_modules.losses.distributed.gather_with_gradient`.

    Args:
        z: ``(N, D)``, any length: vectors are L2-normalised in here.
        labels: ``(N,)``, integers.
        temperature: ``t``, above 0.
        base_temperature: ``t_base``, above 0.
        anchors: ``(N,)``, bool: which rows of ``z`` are anchors; all by default. The others are candidates only.
        candidates: ``(M, D)``: what the anchors are contrasted with; ``z`` itself by default.
        candidate_labels: ``(M,)``: labels of ``candidates``.
        offset: Row of ``candidates`` that is ``z[0]``; row ``offset + i`` is ``z[i]``, and no anchor meets itself.

    Returns:
        A scalar, at least 0, in nats; 0 if there are no anchors.

    Raises:
        ValueError: If candidates come without labels or do not contain the rows of ``z`` at ``offset``.

    Source: Khosla et al. 2020, eq. 2 (``L_out``) and the authors' ``losses.py``, mode "all".

    Examples:
        >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> float(supervised_contrastive_loss(z, torch.tensor([0, 0, 1]), temperature=1.0, base_temperature=1.0))
        0.2088...
    """
    pool, pool_labels = _pool(z, labels, candidates, candidate_labels, offset)
    with without_autocast(z):
        unit = F.normalize(at_least_float32(z), dim=1)
        pool_unit = unit if pool is z else F.normalize(at_least_float32(pool), dim=1)
        logits = unit @ pool_unit.T / temperature  # N, M
        columns = torch.arange(len(pool), device=z.device)
        others = columns != offset + torch.arange(len(z), device=z.device)[:, None]
        positives = (labels[:, None] == pool_labels) & others
        # The lowest finite number, not -inf: an anchor that is alone would turn its gradient into nan.
        logits = logits.masked_fill(~others, torch.finfo(logits.dtype).min)
        log_probability = logits - logits.logsumexp(dim=1, keepdim=True)
        per_anchor = log_probability.masked_fill(~positives, 0).sum(1) / positives.sum(1).clamp(min=1)
        weight = torch.ones_like(per_anchor) if anchors is None else anchors.to(per_anchor)
        return -(temperature / base_temperature) * (weight * per_anchor).sum() / weight.sum().clamp(min=1)


def _pool(
    z: Tensor, labels: Tensor, candidates: Tensor | None, candidate_labels: Tensor | None, offset: int
) -> tuple[Tensor, Tensor]:
    if candidates is None and candidate_labels is None:
        return z, labels
    if candidates is None or candidate_labels is None:
        raise ValueError("candidates and candidate_labels come together")
    if offset < 0 or offset + len(z) > len(candidates):
        raise ValueError(f"{len(candidates)} candidates do not contain {len(z)} anchors at offset {offset}")
    return candidates, candidate_labels
