import pytest
import torch
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

from lightning_modules.errors import ImpastoError
from metrics.functional.unique import picture_numbers
from metrics.kid import KID


class Colours(nn.Module):
    source = "embedded"

    def forward(self, images, taps=None):
        vectors = nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)
        return vectors if taps is None else dict.fromkeys(taps, vectors)


def pictures(seed, n):
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) ** (1 + seed)


def seen(metric, n, m):
    metric.update(pictures(0, n), real=False)
    reference = pictures(1, m)
    metric.update(reference[picture_numbers(reference).argsort()], real=True)  # in the order that ours draws from
    return metric


@pytest.fixture
def theirs():
    """Return torchmetrics' KID of 20 against 20 pictures, in subsets."""

    def measure(**settings):
        metric = KernelInceptionDistance(Colours(), **settings)
        torch.manual_seed(3)
        return tuple(float(value) for value in seen(metric, 20, 20).compute())

    return measure


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_equals_torchmetrics_on_one_subset_of_everything(theirs):
    mean, _ = theirs(subsets=1, subset_size=20)
    assert abs(float(seen(KID(Colours()), 20, 20).compute()) - mean) < 1e-6


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_the_spread_over_subsets_is_torchmetrics(theirs):
    _, std = theirs(subsets=10, subset_size=7)
    values = seen(KID(Colours(), "subsets", subsets=10, subset_size=7, seed=3), 20, 20).compute()
    assert set(values) == {"kid", "kid_std"}
    assert abs(float(values["kid_std"]) - std) < 1e-6
    assert float(values["kid"]) == float(seen(KID(Colours()), 20, 20).compute())


def test_subsets_draw_from_their_own_generator():
    metrics = [seen(KID(Colours(), "subsets", subsets=4, subset_size=5), 20, 20) for _ in range(2)]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = metrics[0].compute()
    torch.manual_seed(1)
    assert float(first["kid_std"]) == float(metrics[1].compute()["kid_std"])
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state())


def test_small_sets_are_measured_with_a_note():
    metric = seen(KID(Colours(), "subsets"), 5, 9)  # torchmetrics refuses
    assert float(metric.compute()["kid_std"]) > 0
    assert "of 5 (all of the smaller set: their spread understates)" in metric.convention
    metric = seen(KID(Colours()), 5, 9)
    metric.compute()
    assert "few: noisy, std=jackknife tells how much" in metric.convention


def test_the_jackknife_needs_three_pictures():
    with pytest.raises(ImpastoError, match="at least 3 generated pictures, there are 2"):
        seen(KID(Colours(), "jackknife"), 2, 9).compute()
    with pytest.raises(ImpastoError, match="no spread of KID 'bootstrap': take one of jackknife, subsets"):
        KID(Colours(), "bootstrap")
