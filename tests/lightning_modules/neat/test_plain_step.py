"""The step that the benchmark compares with ours, on small networks in float64: it learns the same."""

import pytest
import torch

from benchmarks.contenders.neat import Fast, Literal, PlainNeAT
from lightning_modules.neat.patch_pair import PatchSettings


@pytest.fixture
def bare(small):
    """Return a function that builds a model whose encoder, like the full one, takes pictures as they are."""

    def build():
        patches = PatchSettings(size=16, windows=6, each=2, width=3, max_channels=5, hidden=8, r1=0.8, r1_every=2)
        model = small(patches=patches).double()
        model.encoder.trunk.mean.zero_()
        model.encoder.trunk.std.fill_(1)
        return model

    return build


def test_it_learns_what_ours_learns(bare, batch):
    data = batch(2, dtype=torch.float64)
    plain, fast = Literal(bare()), Fast(bare())
    for number in range(2):  # with the penalty and without
        expected, found = plain(data), fast(data)
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-5), name
        trained = [dict(step.model.named_parameters()) for step in (plain, fast)]
        moved = [name for name, p in trained[0].items() if p.grad is not None]
        # The public code's generator leaves gradients at the discriminator, which nobody uses.
        moved = [name for name in moved if not name.startswith("discriminator")]
        rounding = 1e-8 * max(float(trained[0][name].grad.norm()) for name in moved)
        for name in moved:
            gradients = [parameters[name].grad for parameters in trained]
            difference = float((gradients[1] - gradients[0]).norm())
            assert difference <= 1e-4 * float(gradients[0].norm()) + rounding, (number, name)
        fast.model.load_state_dict(plain.model.state_dict())  # Adam makes full steps of rounding


def test_it_paints_what_we_paint(bare):
    model = bare().eval()
    content, style = (torch.rand(1, 3, 64, 48, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        plain = PlainNeAT(model)(content, style).float()
    assert torch.allclose(plain, model.stylize(content, style=style), atol=1e-6)
