"""A linear classifier in closed form, for judges that nothing is tuned on."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.functional.precision import as_float64


class Ridge(NamedTuple):
    """What `fit_ridge` found: the scores of features ``f`` are ``(f - mean) @ weight``.

    Attributes:
        mean: ``(D,)``, float64.
        weight: ``(D, A)``, float64.
        left_out: Share of the samples whose class has the highest score when they are left out of the fit.
    """

    mean: Tensor
    weight: Tensor
    left_out: float


def fit_ridge(features: Tensor, labels: Tensor, classes: int, strength: float = 1e-2) -> Ridge:
    """Fit a ridge regression on one-hot labels, in its dual form.

    ``W = X^T (X X^T + l I)^-1 Y`` with centred features X and labels Y, and l the strength times the mean square length
    of a row of X. A sample is left out without another fit: its residual is divided by one minus its own leverage.

    Args:
        features: ``(n, D)``.
        labels: ``(n,)``, int64 in [0, classes).
        classes: A.
        strength: Without unit.

    Raises:
        ImpastoError: If a class has fewer than two samples.

    Source: Hastie, Tibshirani & Friedman 2009, eq. 3.44 and 7.64.

    Examples:
        >>> features = torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
        >>> found = fit_ridge(features, torch.tensor([0, 0, 1, 1]), 2)
        >>> ((features - found.mean) @ found.weight).argmax(1), found.left_out
        (tensor([0, 0, 1, 1]), 1.0)
    """
    counts = labels.bincount(minlength=classes)
    if int(counts.min()) < 2:
        raise ImpastoError("A panel needs at least two paintings of every artist: add some, or leave the artist out.")
    x = as_float64(features)
    mean = x.mean(0)
    x = x - mean
    y = torch.nn.functional.one_hot(labels.to(x.device), classes).double()
    middle = y.mean(0)
    y = y - middle
    kernel = x @ x.T
    damped = kernel + strength * kernel.trace() / len(x) * torch.eye(len(x), dtype=x.dtype, device=x.device)
    dual = torch.linalg.solve(damped, y)
    leverage = torch.linalg.solve(damped, kernel).diagonal() + 1 / len(x)
    scores = y - (y - kernel @ dual) / (1 - leverage)[:, None] + middle
    left_out = float((scores.argmax(1) == labels.to(x.device)).double().mean())
    return Ridge(mean, x.T @ dual, left_out)
