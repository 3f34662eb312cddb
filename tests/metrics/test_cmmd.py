import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.cmmd import CMMD


class Colours(nn.Module):
    source = "embedded"

    def forward(self, images, taps):
        return {tap: images.mean((2, 3)) * 100 for tap in taps}


def test_only_the_direction_of_an_embedding_counts():
    pictures = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    metric = CMMD(Colours())
    metric.update(pictures, real=False)
    metric.update(pictures / 2, real=True)
    assert float(metric.compute()) < 1e-6


def test_estimators():
    with pytest.raises(ImpastoError, match="no estimator of CMMD 'exact': take one of biased, unbiased"):
        CMMD(Colours(), "exact")
    assert CMMD(Colours()).convention.startswith("biased")
    assert CMMD(Colours(), "unbiased").convention.startswith("unbiased")
    one = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    metric = CMMD(Colours())
    metric.update(one, real=False)
    metric.update(one, real=True)
    assert float(metric.compute()) == 0
