import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from metrics.frechet import FrechetDistance


class Colours(nn.Module):
    source = "embedded"

    def forward(self, images, taps=None):
        vectors = nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)
        return vectors if taps is None else dict.fromkeys(taps, vectors)


def pictures(seed, n):
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) ** (1 + seed)


def test_equals_torchmetrics_where_covariances_have_full_rank():
    generated, reference = pictures(0, 60), pictures(1, 40)
    ours = FrechetDistance(Colours())
    theirs = FrechetInceptionDistance(Colours(), normalize=False, input_img_size=(3, 8, 8)).set_dtype(torch.float64)
    for images, real in ((generated, False), (reference, True)):
        ours.update(images, real=real)
        theirs.update(images, real=real)
    assert abs(float(ours.compute()) - float(theirs.compute())) < 1e-6


def test_the_tap_may_be_another():
    metric = FrechetDistance(Colours(), tap="projected")
    metric.update(pictures(0, 4), real=True)
    metric.update(pictures(0, 4), real=False)
    assert float(metric.compute()) == 0
    assert "projected" in metric.convention


def test_few_pictures_of_many_dimensions_stay_exact():
    generated, reference = torch.randn(2, 30, 2048, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    metric = FrechetDistance(Colours())
    metric.update_features({"pool3": generated}, real=False)
    metric.update_features({"pool3": reference}, real=True)
    # Independent spreads of rank 29 in 2048 dimensions hardly overlap; the trace of the root from the 30 x 30 product.
    a, b = (x.double() - x.double().mean(0) for x in (generated, reference))
    root = torch.linalg.eigvalsh((a @ b.T) @ (a @ b.T).T).clamp(min=0).sqrt().sum() / 29
    gap = (generated.double().mean(0) - reference.double().mean(0)).square().sum()
    expected = gap + a.square().sum() / 29 + b.square().sum() / 29 - 2 * root
    assert abs(float(metric.compute()) - float(expected)) < 1e-6
