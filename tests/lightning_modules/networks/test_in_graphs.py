"""What is computed otherwise while a graph is exported is the same: every size, one chunk and several, odd lengths."""

import pytest
import torch

from lightning_modules.conditions import pad
from lightning_modules.losses.precision import expm1, without_autocast
from lightning_modules.networks.clip import centre_square
from lightning_modules.networks.mamba import CausalConv, Mamba1Mixer, SSDMixer
from lightning_modules.networks.mamba_scan import selective_scan
from lightning_modules.networks.ssd import ssd_scan


@pytest.fixture
def both(monkeypatch):
    """Return a function that calls another one as usual, and as while a graph is exported."""

    def call(function, *arguments):
        with torch.no_grad():
            usual = function(*arguments)
            with monkeypatch.context() as patch:
                patch.setattr(torch.compiler, "is_exporting", lambda: True)
                return usual, function(*arguments)

    return call


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(64, 64), (96, 80), (97, 111), (64, 127)])
def test_padding_to_strides(both, size):
    usual, graph = both(pad, rand(1, 3, *size), 16)
    assert torch.equal(usual, graph)


@pytest.mark.parametrize("size", [(32, 32), (100, 300), (48, 30), (517, 333), (32, 33), (90, 32)])
def test_the_square_that_clip_sees(both, size):
    usual, graph = both(centre_square, rand(1, 3, *size), 32)
    assert usual.shape == graph.shape == (1, 3, 32, 32)
    assert torch.allclose(usual, graph, atol=1e-5)


@pytest.mark.parametrize("length", [1, 3, 64, 65, 300])
@pytest.mark.parametrize("steady", [False, True])
def test_a_block_of_mamba_2(both, length, steady):
    torch.manual_seed(0)
    mixer = SSDMixer(12, d_state=8, steady=steady)
    usual, graph = both(mixer, rand(2, length, 12))
    assert torch.allclose(usual, graph, atol=1e-5)
    assert float(usual.std()) > 1e-3


def test_a_scan_whose_states_last_through_many_chunks(both):
    x, steps = rand(1, 1000, 2, 3), 0.01 * rand(1, 1000, 2, seed=1)
    maps = [rand(1, 1000, 1, 4, seed=seed) for seed in (2, 3)]
    usual, graph = both(ssd_scan, x, steps, torch.tensor([-0.5, -20.0]), *maps)
    assert torch.allclose(usual, graph, rtol=1e-4, atol=1e-5)


def test_a_causal_convolution(both):
    convolution = CausalConv(6, 4)
    for length in (1, 2, 9):
        usual, graph = both(convolution, rand(2, length, 6))
        assert torch.allclose(usual, graph, atol=1e-6)


def test_a_block_of_mamba_1(both):
    torch.manual_seed(0)
    mixer = Mamba1Mixer(8, d_state=4)
    for length in (2, 70):
        usual, graph = both(mixer, rand(2, length, 8))
        assert torch.allclose(usual, graph, atol=1e-5)


def test_the_last_state_of_a_selective_scan(both):
    u, delta, maps = rand(1, 4, 40), 0.2 * rand(1, 4, 40, seed=1), rand(1, 2, 40, seed=2)
    usual, graph = both(lambda: selective_scan(u, delta, -rand(4, 2), maps, maps, return_last_state=True))
    assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(usual, graph, strict=True))


def test_small_exponents_keep_their_digits(both):
    usual, graph = both(expm1, torch.tensor([-1e-6, -1e-3, 0.0, 2.0]))
    assert torch.allclose(usual, graph, rtol=1e-6, atol=0)


def test_a_graph_has_no_autocast(monkeypatch):
    assert isinstance(without_autocast(torch.ones(1)), torch.autocast)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert not isinstance(without_autocast(torch.ones(1)), torch.autocast)
