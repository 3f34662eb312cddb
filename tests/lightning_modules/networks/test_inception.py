"""Inception-v3: the torchvision form against torchvision, the TensorFlow form against torchvision with its pools."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lightning_modules  # noqa: F401  (the shim before torchvision)
from lightning_modules.networks.inception import SMALLEST, TAPS, Inception, InceptionTrunk


@pytest.fixture(scope="module")
def reference():
    from torchvision.models import inception_v3

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = inception_v3(weights=None, init_weights=False, aux_logits=True)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.8, 1.2)
                module.weight.data.uniform_(0.8, 1.2)
                module.bias.data.normal_(std=0.1)
    return network.eval()


def reference_taps(network, x):
    names = {"conv2d_2b": "Conv2d_2b_3x3", "conv2d_4a": "Conv2d_4a_3x3", "pool3": "avgpool"}
    found, hooks = {}, []
    for tap, name in names.items():
        keep = lambda _module, _inputs, output, tap=tap: found.__setitem__(tap, output)  # noqa: E731
        hooks.append(getattr(network, name).register_forward_hook(keep))
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return {tap: value.flatten(1) if tap == "pool3" else value for tap, value in found.items()}


def filled(form, network):
    trunk = InceptionTrunk(form)
    trunk.fill(network.state_dict())
    return Inception(trunk, "test")


def assert_close(ours, theirs):
    for tap, value in theirs.items():
        assert ours[tap].shape == value.shape
        assert float((ours[tap] - value).abs().max()) < 1e-5 * float(value.abs().max())


def test_the_torchvision_form_is_torchvisions(reference):
    x = torch.rand(2, 3, 139, 107, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert_close(filled("torchvision", reference)(x, list(TAPS)), reference_taps(reference, x))


def test_the_tensorflow_form_differs_in_the_pools_alone(reference, monkeypatch):
    x = torch.rand(2, 3, 139, 107, generator=torch.Generator().manual_seed(1)) * 2 - 1
    plain = reference_taps(reference, x)
    average = F.avg_pool2d

    def inside(y, kernel_size, stride, padding):
        if y.shape[1] == 2048:  # the last block
            return F.max_pool2d(y, kernel_size, stride, padding)
        return average(y, kernel_size, stride, padding, count_include_pad=False)

    monkeypatch.setattr(F, "avg_pool2d", inside)
    patched = reference_taps(reference, x)
    monkeypatch.undo()
    assert float((patched["pool3"] - plain["pool3"]).abs().max()) > 1e-3
    assert_close(filled("tensorflow", reference)(x, list(TAPS)), patched)


def test_the_pass_stops_at_the_deepest_tap(reference):
    network = filled("torchvision", reference)
    network.trunk.mixed.insert(0, "absent")
    features = network(torch.zeros(1, 3, 19, 19), ["conv2d_4a", "conv2d_2b"])
    assert list(features) == ["conv2d_4a", "conv2d_2b"]
    with pytest.raises(AttributeError):
        network(torch.zeros(1, 3, 299, 299), ["pool3"])


@pytest.mark.parametrize(("tap", "side"), SMALLEST.items())
def test_smallest_sides(reference, tap, side):
    network = filled("torchvision", reference)
    assert network(torch.zeros(1, 3, side, side), [tap])[tap].numel() >= TAPS[tap]
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 3, side - 1, side - 1), [tap])


def test_files_without_counters_and_files_of_something_else(reference):
    state = {key: value for key, value in reference.state_dict().items() if not key.endswith("num_batches_tracked")}
    InceptionTrunk().fill(state)
    with pytest.raises(RuntimeError, match=r"Mixed_7c\.branch1x1"):
        InceptionTrunk().fill({key: value for key, value in state.items() if not key.startswith("Mixed_7c.")})
    with pytest.raises(RuntimeError, match="size mismatch"):
        InceptionTrunk().fill(state | {"Conv2d_1a_3x3.conv.weight": torch.zeros(1)})
