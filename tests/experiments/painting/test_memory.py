import pytest
import torch

from experiments.painting.inference import paint
from experiments.painting.video import VideoPainter
from lightning_modules.errors import ImpastoError


class Failing:
    device = torch.device("cpu")
    tiles = False

    def __init__(self, message):
        self.message = message

    def stylize(self, *_, **__):
        raise RuntimeError(self.message)


def picture(model):
    return paint(model, torch.rand(3, 40, 60))


def video(model):
    return VideoPainter(model, weights="random")._stylize(torch.rand(4, 3, 40, 60), None)


@pytest.mark.parametrize("painted", [picture, video])
def test_only_missing_memory_does_not_fit(painted):
    with pytest.raises(ImpastoError, match="60 x 40 pixels do not fit into memory"):
        painted(Failing("CUDA out of memory. Tried to allocate 20.00 MiB"))
    with pytest.raises(RuntimeError, match="illegal"):
        painted(Failing("CUDA error: an illegal memory access was encountered"))
