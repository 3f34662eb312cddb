"""Implementations of the metrics of sets, given their features, and of the Fréchet distance of any rows."""

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metrics.functional.frechet import frechet_distance
from metrics.functional.mmd import clip_maximum_mean_discrepancy, kernel_inception_distance
from metrics.functional.style_vector import style_similarity

OURS = "impasto"


class Contender(NamedTuple):
    """One implementation, ready to run; ``share`` is the part of the work that it does."""

    name: str
    run: Callable[[], Any]
    share: float = 1.0


def frechet_peers(a: Tensor, b: Tensor) -> list[Contender]:
    """Return the published ways to the Fréchet distance of two sets of rows."""
    from scipy.linalg import sqrtm
    from torchmetrics.image.fid import _compute_fid

    def by_eigenvalues() -> Tensor:
        moments = [part for rows in (a, b) for part in (rows.double().mean(0), rows.double().T.cov())]
        distance: Tensor = _compute_fid(*moments)
        return distance

    def by_root() -> float:
        x, y = (rows.cpu().double().numpy() for rows in (a, b))
        s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real))

    found = [Contender("torchmetrics (eigvals)", by_eigenvalues), Contender("naive: scipy sqrtm", by_root)]
    if find_spec("torch_fidelity"):
        fidelity = import_module("torch_fidelity.metric_fid")

        def by_fidelity() -> float:
            moments = [fidelity.fid_features_to_statistics(rows.cpu().double()) for rows in (a, b)]
            return float(next(iter(fidelity.fid_statistics_to_metric(*moments, verbose=False).values())))

        found.append(Contender("torch-fidelity", by_fidelity))
    return found


def set_cases(count: int, device: torch.device) -> Iterator[tuple[str, list[Contender]]]:
    """Yield every metric of two sets, given their features."""
    from torchmetrics.image.kid import poly_mmd

    generator = torch.Generator().manual_seed(0)  # the same rows on every device
    spectrum = torch.arange(1, 2049) ** -0.5
    x, y = ((torch.randn(count, 2048, generator=generator) * spectrum + shift).to(device) for shift in (0.0, 0.05))
    yield "fid", [Contender(OURS, lambda: frechet_distance(x, y)), *frechet_peers(x, y)]

    def every_kernel() -> Tensor:
        p, q = x.double(), y.double()
        xx, yy, xy = ((u @ v.T / 2048 + 1) ** 3 for u, v in ((p, p), (q, q), (p, q)))
        inner = [(k.sum() - k.trace()) / (count * (count - 1)) for k in (xx, yy)]
        return inner[0] + inner[1] - 2 * xy.mean()

    kid = [Contender(OURS, lambda: kernel_inception_distance(x, y))]
    kid.append(Contender("torchmetrics, one subset of all", lambda: poly_mmd(x, y)))
    kid.append(Contender("naive: whole kernels, float64", every_kernel))
    yield "kid", kid

    u, v = (F.normalize(rows[:, :768], dim=1) for rows in (x, y))

    def every_distance() -> Tensor:
        p, q = u.double(), v.double()
        means = [torch.exp(-torch.cdist(s, t).square() / 200).mean() for s, t in ((p, p), (q, q), (p, q))]
        return 1000 * (means[0] + means[1] - 2 * means[2])

    cmmd = [Contender(OURS, lambda: clip_maximum_mean_discrepancy(u, v))]
    yield "cmmd", [*cmmd, Contender("naive: whole kernels, float64", every_distance)]
    csd = [Contender(OURS, lambda: style_similarity(u, v))]
    yield "csd", [*csd, Contender("naive: float64", lambda: F.cosine_similarity(u.double(), v.double().mean(0)).mean())]
