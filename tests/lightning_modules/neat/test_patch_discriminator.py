import pytest
import torch
import torch.nn.functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.neat.patch_discriminator import CoOccurrenceDiscriminator

ROOT = 2**0.5


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(size=16):
    torch.manual_seed(0)
    network = CoOccurrenceDiscriminator(size, width=3, max_channels=5, hidden=8).double()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_()
    return network


# ---- the equations, one patch at a time ------------------------------------------------------------------------------


def act(maps):
    return ROOT * torch.where(maps > 0, maps, 0.2 * maps)


def convolve(layer, maps, padding, stride=1):
    fan_in = layer.weight[0].numel()
    maps = F.conv2d(F.pad(maps, (padding,) * 4), layer.weight / fan_in**0.5, stride=stride)
    return maps if layer.bias is None else maps + layer.bias.view(1, -1, 1, 1)


def linear(layer, x):
    return layer.weight @ x / len(x) ** 0.5 + layer.bias


def blurred(maps, padding):
    """The low pass, written as four shifts of either axis."""
    maps = F.pad(maps, (padding,) * 4)
    height, width = maps.shape[-2] - 3, maps.shape[-1] - 3
    maps = sum(tap / 8 * maps[..., i : i + height, :] for i, tap in enumerate((1, 3, 3, 1)))
    return sum(tap / 8 * maps[..., i : i + width] for i, tap in enumerate((1, 3, 3, 1)))


def block(layer, maps, halve):
    hidden = act(convolve(layer.first, maps, 1))
    if halve:
        hidden = act(convolve(layer.second, blurred(hidden, 2), 0, stride=2))
        kept = convolve(layer.skip, blurred(maps, 1)[..., ::2, ::2], 0)
    else:
        hidden, kept = act(convolve(layer.second, hidden, 1)), convolve(layer.skip, maps, 0)
    return (hidden + kept) / ROOT


def features(network, patch):
    stem, _, *blocks, last, _ = network.trunk
    maps = act(convolve(stem, 2 * patch[None] - 1, 1))
    for layer in blocks[:-1]:
        maps = block(layer, maps, halve=True)
    return act(convolve(last, block(blocks[-1], maps, halve=False), 0)).flatten()


def score(network, reference, patch):
    """Of one patch, given the features of the reference patches and its own."""
    x = act(linear(network.pair, torch.cat([sum(reference) / len(reference), patch])))
    _, second, _, third, _, last = network.judge
    return linear(last, act(linear(third, act(linear(second, x)))))[0]


# ---- the tests -------------------------------------------------------------------------------------------------------


def test_at_128_pixels_it_has_the_sources_24_522_145_parameters():
    with torch.device("meta"):
        network = CoOccurrenceDiscriminator(128, width=32)
        features = network.features(torch.rand(2, 3, 128, 128))
    assert sum(parameter.numel() for parameter in network.parameters()) == 24_522_145
    assert features.shape == (2, 1536)
    widths = [layer.second.weight.shape[0] for layer in network.trunk if hasattr(layer, "second")]
    assert widths == [64, 128, 256, 384, 384, 768]


def test_at_64_pixels_it_is_the_same_network_without_the_first_block():
    with torch.device("meta"):
        network = CoOccurrenceDiscriminator()
    widths = [layer.second.weight.shape[0] for layer in network.trunk if hasattr(layer, "second")]
    assert widths == [128, 256, 384, 384, 768]
    assert network.pair.weight.shape == (2048, 3072)


@pytest.mark.parametrize(("size", "length"), [(8, 20), (16, 20), (20, 45), (22, 45), (24, 80)])
def test_features_are_those_of_the_equations(size, length):
    network, patches = small(size), draw(3, 3, size, size)
    found = network.features(patches)
    assert found.shape == (3, length)
    for patch, vector in zip(patches, found, strict=True):
        assert torch.allclose(vector, features(network, patch), atol=1e-10)


def test_scores_are_those_of_the_equations():
    network = small()
    references, patches = draw(2, 4, 20), draw(2, 3, 20, seed=1)
    found = network.score(references.mean(1), patches)
    assert found.shape == (2, 3)
    for b in range(2):
        for k in range(3):
            assert torch.allclose(found[b, k], score(network, references[b], patches[b, k]), atol=1e-10)


def test_signals_keep_their_size_at_the_start():
    torch.manual_seed(0)
    network = CoOccurrenceDiscriminator(32, width=16, max_channels=32, hidden=64)
    found = network.features(torch.rand(16, 3, 32, 32)).detach()
    assert 0.2 < float(found.square().mean().sqrt()) < 3


def test_patches_too_small_for_it_are_refused():
    with pytest.raises(ImpastoError, match=r"Patches of 7 pixels .* model.patches.size to at least 8\.$"):
        CoOccurrenceDiscriminator(7)
