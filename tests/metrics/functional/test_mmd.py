import math

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from lightning_modules.errors import ImpastoError
from metrics.functional import mmd
from metrics.functional.mmd import (
    clip_maximum_mean_discrepancy,
    kernel_inception_distance,
    kernel_inception_jackknife,
)


def rows(seed, n, d=6, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def cubic(x, y):
    return (math.fsum(float(p) * float(q) for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3


def gaussian(x, y, sigma=10.0):
    x, y = (v / v.norm() for v in (x, y))
    return math.exp(-math.fsum(float(p - q) ** 2 for p, q in zip(x, y, strict=True)) / (2 * sigma**2))


def over_all_pairs(a, b, kernel, biased):
    """The definition, one pair at a time."""
    aa = math.fsum(kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if biased or i != j)
    bb = math.fsum(kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if biased or i != j)
    ab = math.fsum(kernel(x, y) for x in a for y in b)
    n, m = len(a), len(b)
    return aa / (n * (n - (not biased))) + bb / (m * (m - (not biased))) - 2 * ab / (n * m)


SIZES = pytest.mark.parametrize(("n", "m"), [(7, 7), (9, 4), (2, 5), (2, 2)])


@SIZES
def test_kid_equals_the_definition(n, m):
    a, b = rows(0, n), rows(1, m, shift=1)
    assert abs(float(kernel_inception_distance(a, b)) - over_all_pairs(a, b, cubic, biased=False)) < 1e-12


@SIZES
@pytest.mark.parametrize("biased", [True, False])
def test_cmmd_equals_the_definition(n, m, biased):
    a, b = rows(0, n), rows(1, m, shift=1)
    expected = 1000 * over_all_pairs(a, b, gaussian, biased)
    assert abs(float(clip_maximum_mean_discrepancy(a, b, biased=biased)) - expected) < 1e-10


def test_kid_equals_torchmetrics_on_equal_sizes():
    a, b = rows(0, 60, 32), rows(1, 60, 32, shift=0.3)
    assert abs(float(kernel_inception_distance(a, b)) - float(poly_mmd(a, b))) < 1e-12


@pytest.mark.parametrize("block", [1, 5, 17, 40])
def test_blocks_do_not_matter(monkeypatch, block):
    a, b = rows(0, 13), rows(1, 7, shift=1)
    kid, error = kernel_inception_jackknife(a, b)
    cmmd = clip_maximum_mean_discrepancy(a, b)
    monkeypatch.setattr(mmd, "BLOCK", block)
    assert abs(float(kernel_inception_distance(a, b)) - float(kid)) < 1e-12
    assert abs(float(kernel_inception_jackknife(a, b)[1]) - float(error)) < 1e-12
    assert abs(float(clip_maximum_mean_discrepancy(a, b)) - float(cmmd)) < 1e-12


def test_the_jackknife_leaves_one_out_at_a_time():
    a, b = rows(0, 8), rows(1, 5, shift=0.5)
    value, error = kernel_inception_jackknife(a, b)
    variance = 0.0
    for side, rest in ((a, lambda x: (x, b)), (b, lambda x: (a, x))):
        n = len(side)
        without = [over_all_pairs(*rest(torch.cat([side[:i], side[i + 1 :]])), cubic, biased=False) for i in range(n)]
        mean = math.fsum(without) / n
        variance += (n - 1) / n * math.fsum((x - mean) ** 2 for x in without)
    assert float(value) == float(kernel_inception_distance(a, b))
    assert abs(float(error) - math.sqrt(variance)) < 1e-10


def test_the_jackknife_tells_the_spread_of_repeated_draws():
    draws = [kernel_inception_jackknife(rows(2 * i, 60), rows(2 * i + 1, 60, shift=0.2)) for i in range(200)]
    spread = torch.stack([value for value, _ in draws]).std()
    assert 0.8 < float(torch.stack([error for _, error in draws]).mean() / spread) < 1.25


def test_cmmd_is_nearly_linear_in_the_kernel():
    a, b = (rows(seed, 60, 64, shift) for seed, shift in ((0, 0.0), (1, 0.3)))
    first = 10 * (torch.nn.functional.normalize(a).mean(0) - torch.nn.functional.normalize(b).mean(0)).square().sum()
    assert abs(float(clip_maximum_mean_discrepancy(a, b) / first) - 1) < 0.02


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_identity(scale):
    a = rows(0, 50, 8) * scale
    assert float(clip_maximum_mean_discrepancy(a, a.clone())) == 0
    assert 0 <= float(clip_maximum_mean_discrepancy(a, a.flip(0))) < 1e-10
    assert float(clip_maximum_mean_discrepancy(a[:1], a[:1])) == 0
    assert float(clip_maximum_mean_discrepancy(a, a, biased=False)) < 0
    assert float(kernel_inception_distance(a, a)) < 0


def test_constant_sets():
    ones, other = torch.ones(30, 4), torch.ones(3, 4)
    assert float(kernel_inception_distance(ones, other)) == 0
    assert float(clip_maximum_mean_discrepancy(ones, other)) == 0
    assert abs(float(clip_maximum_mean_discrepancy(ones, -other)) - 2000 * (1 - math.exp(-4 / 200))) < 1e-10


def test_half_precision_features_are_summed_in_double():
    a, b = rows(0, 30).half(), rows(1, 30).half()
    assert float(kernel_inception_distance(a, b)) == float(kernel_inception_distance(a.double(), b.double()))
    assert float(clip_maximum_mean_discrepancy(a, b)) == float(clip_maximum_mean_discrepancy(a.double(), b.double()))


def test_the_embeddings_given_stay_as_they_are():
    a, b = rows(0, 5), rows(1, 5)
    before = a.clone(), b.clone()
    kernel_inception_distance(a, b)
    clip_maximum_mean_discrepancy(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


def test_sets_without_a_distance_are_refused():
    a = rows(0, 10)
    with pytest.raises(ImpastoError, match="at least 2 pictures on either side, got 10 and 1"):
        kernel_inception_distance(a, a[:1])
    with pytest.raises(ImpastoError, match="at least 3 pictures"):
        kernel_inception_jackknife(a, a[:2])
    with pytest.raises(ImpastoError, match="at least 2 pictures"):
        clip_maximum_mean_discrepancy(a, a[:1], biased=False)
    with pytest.raises(ImpastoError, match="at least 1 pictures"):
        clip_maximum_mean_discrepancy(a, a[:0])
    with pytest.raises(ImpastoError, match=r"\(10, 6\) and \(10, 3\)"):
        kernel_inception_distance(a, a[:, :3])
