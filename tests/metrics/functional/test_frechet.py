import warnings

import numpy as np
import pytest
import torch
from scipy import linalg

from lightning_modules.errors import ImpastoError
from metrics.functional.frechet import frechet_distance, frechet_from_moments, moments


def rows(seed, n, d, rank=None, shift=0.0):
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((rank or d, d)) / np.sqrt(d)
    return torch.from_numpy(rng.standard_normal((n, rank or d)) @ mix + shift)


def textbook(a, b):
    """The definition by scipy's square root of the product of the covariances, float64."""
    a, b = a.double().numpy(), b.double().numpy()
    product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        root = np.trace(linalg.sqrtm(product)).real
    spread = np.trace(np.cov(a, rowvar=False)) + np.trace(np.cov(b, rowvar=False))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2 * root)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 8), (9, 9, 8), (8, 30, 8), (500, 5, 6), (40, 41, 24)])
def test_equals_the_textbook_whichever_side_is_longer(n, m, d):
    a, b = rows(0, n, d), rows(1, m, d, shift=0.5)
    assert abs(float(frechet_distance(a, b)) - textbook(a, b)) < 1e-6
    assert abs(float(frechet_distance(a, b)) - float(frechet_distance(b, a))) < 1e-12


@pytest.mark.parametrize(("n", "m"), [(300, 400), (5, 7), (300, 7)])
def test_diagonal_gaussians_have_a_closed_form(n, m):
    d = 12
    a, b = rows(0, n, d), rows(1, m, d, shift=1.0)
    if n > d:  # whitened and scaled: covariances diag(s^2) and diag(t^2) exactly
        s, t = torch.rand(2, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        a, c = (white(x) for x in (a, rows(2, m + d, d)))
        expected = (s - t).square().sum()
        assert abs(float(frechet_distance(a * s, c * t)) - float(expected)) < 1e-10
    # one direction only, of any size: |m|^2 + (s - t)^2
    line_a, line_b = a[:, :1] * torch.ones(d), b[:, :1] * torch.ones(d)
    gap = d * (a[:, 0].mean() - b[:, 0].mean()).square() + d * (a[:, 0].std() - b[:, 0].std()).square()
    assert abs(float(frechet_distance(line_a, line_b)) - float(gap)) < 1e-10


def white(x):
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (len(x) - 1))).T


@pytest.mark.parametrize(("n", "d", "rank"), [(50, 8, 8), (50, 64, 64), (200, 64, 3), (2, 5, 5), (64, 64, 64)])
def test_identity(n, d, rank):
    a = rows(0, n, d, rank) * 255
    assert float(frechet_distance(a, a.clone())) == 0
    assert float(frechet_distance(a.float(), a.float())) == 0
    shuffled = a[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    assert 0 <= float(frechet_distance(a, shuffled)) < 1e-8 * float(a.var(0).sum())
    assert abs(float(frechet_distance(a, a + 2)) - 4 * d) < 1e-6
    assert float(frechet_from_moments(*moments(a), *moments(a))) == 0


def test_constant_sets():
    zeros, ones = torch.zeros(30, 4), torch.ones(3, 4)
    assert float(frechet_distance(zeros, ones)) == 4
    assert float(frechet_distance(zeros, zeros[:7])) == 0
    spread = rows(0, 30, 4)
    expected = spread.mean(0).square().sum() + spread.var(0).sum()
    assert abs(float(frechet_distance(spread, zeros)) - float(expected)) < 1e-12
    assert abs(float(frechet_from_moments(*moments(spread), *moments(zeros))) - float(expected)) < 1e-12


def test_a_large_mean_costs_no_digits():
    a, b = rows(0, 2000, 5).float() + 1e4, rows(1, 2000, 5).float() + 1e4  # sums in float32 give negative numbers here
    assert abs(float(frechet_distance(a, b)) - float(frechet_distance(a.double() - 1e4, b.double() - 1e4))) < 1e-9


def test_blocks_do_not_matter(monkeypatch):
    a, b = rows(0, 500, 6), rows(1, 300, 6)
    whole = float(frechet_distance(a, b))
    monkeypatch.setattr("metrics.functional.frechet.BLOCK", 1)
    assert abs(float(frechet_distance(a, b)) - whole) < 1e-12


@pytest.mark.parametrize(("n", "m"), [(300, 200), (20, 200), (20, 15)])
def test_moments_give_the_same_as_rows(n, m):
    a, b = rows(0, n, 32), rows(1, m, 32, shift=0.2)
    assert torch.allclose(moments(a)[1], torch.from_numpy(np.cov(a.numpy(), rowvar=False)), atol=1e-13)
    from_moments = float(frechet_from_moments(*moments(a), *moments(b)))
    # The square root of a covariance of rank 19 keeps half its digits; rows keep all.
    assert abs(from_moments - float(frechet_distance(a, b))) < (1e-10 if min(n, m) > 32 else 1e-5)


def test_half_precision_features_are_summed_in_double():
    a, b = rows(0, 300, 8).half(), rows(1, 300, 8).half()
    assert float(frechet_distance(a, b)) == float(frechet_distance(a.double(), b.double()))


def test_what_has_no_distance_is_refused():
    a = rows(0, 10, 4)
    with pytest.raises(ImpastoError, match="at least 2 feature vectors on either side, got 1"):
        frechet_distance(a, a[:1])
    with pytest.raises(ImpastoError, match=r"got \(10, 4\) and \(10, 3\)"):
        frechet_distance(a, a[:, :3])
    for bad in (torch.nan, torch.inf):
        broken = a.clone()
        broken[3, 2] = bad
        with pytest.raises(ImpastoError, match="nan or infinite"):
            frechet_distance(a, broken)
    with pytest.raises(ImpastoError, match=r"\(D, D\)"):
        frechet_from_moments(*moments(a), a.mean(0), torch.eye(3))
