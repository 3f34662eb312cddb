import pytest
import torch
import torch.nn.functional as F

from lightning_modules.losses.content import Shown, shrunken_content_loss


def encode(pictures):
    """An encoder of two layers whose maps are no multiple of each other."""
    return {"fine": pictures.square(), "coarse": F.avg_pool2d(pictures, 2).exp()}


@pytest.mark.parametrize("total", [False, True])
def test_shrunken_pictures_are_compared_layer_by_layer_after_removing_mean_and_spread(total):
    generator = torch.Generator().manual_seed(0)
    painted, content = torch.rand(2, 2, 3, 16, 24, generator=generator, dtype=torch.float64)
    scales, layers, expected = (1, 2, 4), ("fine", "coarse"), 0.0
    for scale in scales:
        for layer in layers:
            a, b = (encode(F.avg_pool2d(pictures, scale))[layer] for pictures in (painted, content))
            a, b = ((x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt() for x in (a, b))
            expected += float((a - b).square().mean()) / len(scales) / (1 if total else len(layers))
    shown = [Shown(pictures, encode(pictures)) for pictures in (painted, content)]
    value = shrunken_content_loss(encode, *shown, layers, scales, total=total)
    assert float(value) == pytest.approx(expected)


def test_no_gradient_flows_into_the_content():
    content = torch.rand(1, 3, 8, 8, requires_grad=True)
    painted = torch.rand(1, 3, 8, 8, requires_grad=True)
    shown = [Shown(pictures, encode(pictures.detach())) for pictures in (painted, content)]
    shrunken_content_loss(encode, *shown, ("fine",), (2,)).backward()
    assert painted.grad.any()
    assert content.grad is None


def test_contents_that_several_pictures_show_are_encoded_once():
    painted, content = torch.rand(3, 3, 16, 16), torch.rand(2, 3, 16, 16)
    shown, encoded = torch.tensor([1, 0, 1]), []

    def counting(pictures):
        encoded.append(len(pictures))
        return encode(pictures)

    one_each = Shown(content[shown], encode(content[shown]))
    layers, scales = ("fine", "coarse"), (1, 2)
    expected = shrunken_content_loss(encode, Shown(painted, encode(painted)), one_each, layers, scales)
    exhibits = Shown(painted, encode(painted)), Shown(content, encode(content))
    found = shrunken_content_loss(counting, *exhibits, layers, scales, shown=shown)
    assert torch.allclose(found, expected)
    assert sorted(encoded) == [2, 3]
