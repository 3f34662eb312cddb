import torch
import torch.nn.functional as F

from lightning_modules.neat.equalized import EqualizedConv2d, EqualizedLinear


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(layer):
    layer = layer.double()
    if layer.bias is not None:
        layer.bias.data.copy_(draw(*layer.bias.shape, seed=5))
    return layer


def test_a_convolution_is_the_plain_one_with_scaled_weights():
    layer = layer_of(EqualizedConv2d(6, 5, 3, stride=2, padding=1, gain=0.7))
    maps = draw(2, 6, 9, 8)
    plain = F.conv2d(F.pad(maps, (1, 1, 1, 1)), layer.weight / 54**0.5, stride=2) + layer.bias.view(1, 5, 1, 1)
    assert torch.allclose(layer(maps), 0.7 * plain, atol=1e-12)


def test_a_convolution_without_bias():
    layer = layer_of(EqualizedConv2d(4, 5, 1, bias=False))
    maps = draw(2, 4, 3, 3)
    assert torch.allclose(layer(maps), torch.einsum("oc,bchw->bohw", layer.weight[..., 0, 0] / 2, maps), atol=1e-12)
    assert len(list(layer.parameters())) == 1


def test_a_linear_layer_is_the_plain_one_with_scaled_weights():
    layer, x = layer_of(EqualizedLinear(9, 4, gain=1.5)), draw(3, 2, 9)
    assert torch.allclose(layer(x), 1.5 * (x @ layer.weight.T / 3 + layer.bias), atol=1e-12)


def test_pairs_are_what_the_layer_makes_of_joined_vectors():
    layer, first, second = layer_of(EqualizedLinear(9, 4, gain=1.5)), draw(3, 5), draw(3, 2, 4, seed=1)
    joined = torch.stack([torch.cat([first, second[:, k]], 1) for k in range(2)], 1)
    assert torch.allclose(layer.of_pairs(first, second), layer(joined), atol=1e-12)


def test_layers_start_with_unit_variance_whatever_their_width():
    torch.manual_seed(0)
    for inputs in (4, 256):
        layer, maps = EqualizedConv2d(inputs, 64, 3, padding=1), torch.randn(8, inputs, 10, 10)
        assert abs(float(layer.weight.detach().std()) - 1) < 0.05
        assert abs(float(layer(maps)[..., 1:-1, 1:-1].detach().std()) - 1) < 0.1
        assert not layer.bias.any()
