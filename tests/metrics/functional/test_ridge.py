import pytest
import torch

from lightning_modules.errors import ImpastoError
from metrics.functional.ridge import fit_ridge


def samples():
    """Three artists of six paintings whose features overlap, so that some are named wrongly when left out."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(18) % 3
    middles = torch.eye(3, 9)[labels]
    return middles + 0.6 * torch.randn(18, 9, generator=generator), labels


def primal(features, labels, strength):
    """The textbook's normal equations with an unpenalised intercept."""
    x, y = features.double(), torch.nn.functional.one_hot(labels, 3).double()
    mean = x.mean(0)
    x = x - mean
    penalty = strength * x.square().sum() / len(x)
    return mean, torch.linalg.inv(x.T @ x + penalty * torch.eye(9).double()) @ x.T @ (y - y.mean(0)), penalty


def test_it_solves_the_normal_equations():
    features, labels = samples()
    found = fit_ridge(features, labels, 3, 0.1)
    mean, weight, _ = primal(features, labels, 0.1)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.weight, weight)


def test_leaving_out_is_leaving_out():
    features, labels = samples()
    penalty, right = primal(features, labels, 0.1)[2], []
    for out in range(18):
        kept = [row for row in range(18) if row != out]
        x, y = features[kept].double(), torch.nn.functional.one_hot(labels[kept], 3).double()
        mean, middle = x.mean(0), y.mean(0)
        inverse = torch.linalg.inv((x - mean).T @ (x - mean) + penalty * torch.eye(9).double())
        weight = inverse @ (x - mean).T @ (y - middle)
        right.append(int(((features[out].double() - mean) @ weight + middle).argmax() == labels[out]))
    assert 0 < sum(right) < 18
    assert fit_ridge(features, labels, 3, 0.1).left_out == pytest.approx(sum(right) / 18)


def test_a_single_painting_cannot_be_left_out():
    with pytest.raises(ImpastoError, match="at least two paintings of every artist"):
        fit_ridge(torch.rand(3, 4), torch.tensor([0, 0, 1]), 2)
