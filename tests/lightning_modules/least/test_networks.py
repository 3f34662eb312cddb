import math

import pytest
import torch
from torch import nn

from lightning_modules.least.networks import StackedConv2d, StyleUNet


def pictures(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_network_has_the_parameters_of_the_public_one():
    assert sum(p.numel() for p in StyleUNet(1).parameters()) == 615_267
    assert sum(p.numel() for p in StyleUNet(3).parameters()) == 3 * 615_267


def test_networks_side_by_side_paint_as_each_alone():
    both, content = StyleUNet(3).double(), pictures(2, 3, 16, 24)
    both.start([5, 6])
    out = both(content)
    assert out.shape == content.shape
    for number, seed in enumerate((5, 6)):
        alone = StyleUNet(1).double()
        alone.start([seed])
        assert torch.allclose(out[number : number + 1], alone(content[number : number + 1]), atol=1e-12)
    assert not torch.allclose(out[0], out[1])


def test_gradients_stay_with_their_job():
    both = StyleUNet(2).double()
    both.start([5, 6])
    both(pictures(2, 3, 16, 16))[1].sum().backward()
    for name, parameter in both.named_parameters():
        assert not parameter.grad[0].any(), name
    assert both.first.weight.grad[1].any()


def test_every_job_is_clipped_as_a_network_of_its_own():
    content, largest = pictures(2, 3, 16, 16), 0.5
    both = StyleUNet(3).double()
    both.start([5, 6])
    scale = torch.tensor([1e-3, 1.0]).view(-1, 1, 1, 1)  # the first is short enough
    (scale * both(content)).square().sum().backward()
    found = [parameter.grad.clone() for parameter in both.parameters()]
    both.clip_gradients(largest)
    assert not any(parameter.grad[2].any() for parameter in both.parameters())  # nobody's
    for job in range(2):
        ours = [parameter.grad[job] for parameter in both.parameters()]
        alone = [nn.Parameter(torch.zeros_like(gradient[job])) for gradient in found]
        for parameter, gradient in zip(alone, found, strict=True):
            parameter.grad = gradient[job].clone()
        norm = float(nn.utils.clip_grad_norm_(alone, largest))
        assert (norm > largest) == (job == 1)
        for mine, parameter in zip(ours, alone, strict=True):
            assert torch.allclose(mine, parameter.grad, rtol=1e-12, atol=0)


def test_a_start_is_torchs_own_and_its_seeds():
    layer = StackedConv2d(2, 16, 32, 3)
    layer.start(1, torch.Generator().manual_seed(0))
    bound = 1 / math.sqrt(16 * 9)
    assert not layer.weight[0].any()
    assert 0.95 * bound < float(layer.weight[1].abs().max()) <= bound
    assert 0 < float(layer.bias[1].abs().max()) <= bound
    one, other = StyleUNet(1), StyleUNet(2)
    one.start([7])
    other.start([8, 7])
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a[0], b[1])
        assert not torch.equal(a[0], b[0])


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (4, 2)])
def test_a_layer_is_torchs_own_convolution(padding, kernel, stride):
    layer = StackedConv2d(2, 3, 5, kernel, stride, padding).double()
    for job in range(2):
        layer.start(job, torch.Generator().manual_seed(job))
    content = pictures(2, 3, 16, 24)
    for job in range(2):
        own = nn.Conv2d(3, 5, kernel, stride, (kernel - 1) // 2, padding_mode=padding).double()
        own.load_state_dict({"weight": layer.weight[job], "bias": layer.bias[job]})
        assert torch.allclose(layer(content)[job], own(content[job]), atol=1e-12)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
def test_sides_are_multiples_of_eight(size, padding):
    network = StyleUNet(1, padding=padding)
    network.start([0])
    assert network(torch.rand(1, 3, *size)).shape == (1, 3, *size)
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 3, size[0] + 4, size[1]))
