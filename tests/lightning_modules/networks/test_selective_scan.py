import inspect
import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks import recurrence
from lightning_modules.networks.recurrence import Plan, solve_steps, solve_tree
from lightning_modules.networks.selective_scan import (
    DirectionalMixer,
    Mamba1Mixer,
    SSDMixer,
    find_kernel,
    selective_scan,
    ssd_scan,
)

LENGTHS = [1, 2, 3, 17, 64, 65, 127, 300]
BACKENDS = ["slab", "tree"]


def loop(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """The definition, one step after the other, in the dtype of its inputs."""
    delta = delta if delta_bias is None else delta + delta_bias[:, None]
    delta = F.softplus(delta) if delta_softplus else delta
    B, C = (m if m.dim() == 4 else m.unsqueeze(1) for m in (B, C))
    B, C = (m.repeat_interleave(u.shape[1] // m.shape[1], 1) for m in (B, C))  # b, D, N, L
    state, outputs = u.new_zeros(*u.shape[:2], A.shape[1]), []
    for d, x, b, c in zip(delta.unbind(-1), u.unbind(-1), B.unbind(-1), C.unbind(-1), strict=True):
        state = torch.exp(d[..., None] * A) * state + (d * x)[..., None] * b
        outputs.append((state * c).sum(-1))
    y = torch.stack(outputs, -1)
    y = y if D is None else y + D[:, None] * u
    return (y if z is None else y * F.silu(z)), state


def random_inputs(batch=2, channels=6, length=65, states=4, groups=None, extras=False, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    maps = (batch, states, length) if groups is None else (batch, groups, states, length)
    inputs = {
        "u": draw(batch, channels, length),
        "delta": draw(batch, channels, length) if extras else draw(batch, channels, length).abs() * 0.3,
        "A": -4 * draw(channels, states).abs(),
        "B": draw(*maps),
        "C": draw(*maps),
    }
    if extras:
        inputs |= {"D": draw(channels), "z": draw(batch, channels, length), "delta_bias": draw(channels) - 2}
    return {name: value.to(dtype).requires_grad_() for name, value in inputs.items()}


def in_float64(inputs):
    return {name: value.detach().double().requires_grad_() for name, value in inputs.items()}


def relative(actual: Tensor, expected: Tensor) -> float:
    difference = (actual.detach().double() - expected.detach().double()).norm()
    return float(difference / expected.detach().double().norm().clamp(min=1e-12))


def assert_agree(function, reference, inputs, tolerance=1e-5):
    exact = in_float64(inputs)
    actual, expected = function(**inputs), reference(**exact)
    weight = torch.randn(actual.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert relative(actual, expected) < tolerance
    gradients = torch.autograd.grad((actual * weight.to(actual)).sum(), list(inputs.values()))
    truths = torch.autograd.grad((expected * weight).sum(), list(exact.values()))
    for name, gradient, truth in zip(inputs, gradients, truths, strict=True):
        assert relative(gradient, truth) < tolerance, name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("length", LENGTHS)
def test_scan_and_gradients_equal_the_loop(length, backend):
    inputs = random_inputs(length=length, seed=length)
    assert_agree(lambda **kw: selective_scan(**kw, backend=backend), lambda **kw: loop(**kw)[0], inputs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("groups", [None, 1, 2, 3])
def test_grouped_maps_gate_skip_bias_and_softplus(groups, backend):
    inputs = random_inputs(length=77, groups=groups, extras=True)
    assert_agree(
        lambda **kw: selective_scan(**kw, delta_softplus=True, backend=backend),
        lambda **kw: loop(**kw, delta_softplus=True)[0],
        inputs,
    )


@pytest.mark.parametrize("solve", [solve_steps, solve_tree])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_carry_between_slabs(monkeypatch, solve, steps):
    inputs = random_inputs(length=50)
    plan = Plan(solve, slab=steps * 2 * 6 * 4)
    monkeypatch.setattr("lightning_modules.networks.mamba_scan.Plan", lambda *_: plan)
    assert_agree(selective_scan, lambda **kw: loop(**kw)[0], inputs)


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize("reverse", [False, True])
def test_tree_equals_steps_for_every_length(length, reverse):
    decay, values = torch.rand(length, 3, dtype=torch.float64), torch.randn(length, 3, dtype=torch.float64)
    kept, other = decay.clone(), values.clone()
    solve_steps(decay, values, reverse)
    solve_tree(decay, other, reverse)
    assert torch.equal(decay, kept)
    torch.testing.assert_close(values, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_last_state_is_that_of_the_loop_and_has_no_gradient(backend):
    inputs = random_inputs(length=70, extras=True)
    output, last = selective_scan(**inputs, delta_softplus=True, return_last_state=True, backend=backend)
    assert relative(last, loop(**in_float64(inputs), delta_softplus=True)[1]) < 1e-5
    assert output.requires_grad
    assert not last.requires_grad


@pytest.mark.parametrize("backend", BACKENDS)
def test_scan_gradcheck(backend):
    inputs = random_inputs(1, 4, 5, 2, groups=2, extras=True, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *values: selective_scan(*values, delta_softplus=True, backend=backend), tuple(inputs.values())
    )


def numpy_loop(inputs):
    u, delta, A, B, C = (inputs[name].detach().double().numpy() for name in ("u", "delta", "A", "B", "C"))
    B, C = (maps.reshape(u.shape[0], A.shape[1], -1) for maps in (B, C))
    decay, drive = np.exp(delta[..., None] * A[:, None]), delta * u  # b, D, L, N
    state, outputs = np.zeros((*u.shape[:2], A.shape[1])), np.empty_like(u)
    for t in range(u.shape[-1]):
        state = decay[:, :, t] * state + drive[:, :, t, None] * B[:, None, :, t]
        outputs[:, :, t] = (state * C[:, None, :, t]).sum(-1)
    return torch.from_numpy(outputs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rate", "tolerance"), [(1e-4, 1e-4), (1e-2, 1e-5), (1e4, 1e-5)])
def test_long_scan_is_finite_and_exact(backend, rate, tolerance):
    # A state that outlives the sequence raises the rounding of one decay to the 16,384th power: hence 1e-4.
    inputs = random_inputs(1, 2, 16_384, 4)
    inputs["A"] = (inputs["A"] * rate).detach().requires_grad_()
    expected = numpy_loop(inputs)
    output = selective_scan(**inputs, backend=backend)
    assert relative(output, expected) < tolerance
    output.sum().backward()
    assert all(value.grad.isfinite().all() for value in inputs.values())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(selective_scan(**inputs, backend=backend), output)


def test_slow_decays_do_not_touch_the_denormals():
    inputs = random_inputs(1, 2, 40, 3)
    with torch.no_grad():
        inputs["A"].fill_(-1e3)
    assert_agree(selective_scan, lambda **kw: loop(**kw)[0], inputs)
    assert math.exp(recurrence.LOG_DECAY_FLOOR) > torch.finfo(torch.float32).tiny


def test_half_inputs_are_computed_in_float32():
    inputs = {name: value.detach() for name, value in random_inputs(length=200).items()}
    halves = inputs | {name: inputs[name].bfloat16() for name in ("u", "delta", "B", "C")}
    output = selective_scan(**halves)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, selective_scan(**{name: value.float() for name, value in halves.items()}).bfloat16())


def test_groups_must_divide_channels():
    with pytest.raises(ValueError, match="4 groups of B and C do not divide 6 channels"):
        selective_scan(**random_inputs(groups=4))


def install_kernel(monkeypatch, function):
    package, module = ModuleType("mamba_ssm"), ModuleType("mamba_ssm.ops.selective_scan_interface")
    module.selective_scan_fn = function
    monkeypatch.setitem(sys.modules, "mamba_ssm", package)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops", ModuleType("mamba_ssm.ops"))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", module)


@pytest.fixture
def fresh_lookup():
    find_kernel.cache_clear()
    yield
    find_kernel.cache_clear()


@pytest.mark.usefixtures("fresh_lookup")
def test_kernel_that_works_is_found_once(monkeypatch):
    calls = []
    install_kernel(monkeypatch, lambda *args, **_: calls.append(args))
    assert find_kernel(torch.device("cpu")) is find_kernel(torch.device("cpu"))
    assert find_kernel(torch.device("cpu")) is not None
    assert len(calls) == 1


@pytest.mark.usefixtures("fresh_lookup")
@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError, AttributeError, KeyError])
def test_kernel_that_fails_in_any_way_is_absent(monkeypatch, error):
    def broken(*_, **__):
        raise error("no kernel image is available")

    install_kernel(monkeypatch, broken)
    assert find_kernel(torch.device("cpu")) is None


@pytest.mark.usefixtures("fresh_lookup")
def test_package_that_fails_at_import_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", None)
    assert find_kernel(torch.device("cpu")) is None


def test_kernel_asked_for_but_absent_is_one_sentence():
    with pytest.raises(ImpastoError, match="mamba-ssm's scan does not work on this device"):
        selective_scan(**random_inputs(), backend="kernel")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernel_agrees_with_the_tree_on_cuda():
    if find_kernel(torch.device("cuda")) is None:
        pytest.skip("needs mamba-ssm")
    inputs = {name: value.detach().cuda().requires_grad_() for name, value in random_inputs(length=300).items()}
    outputs = [selective_scan(**inputs, backend=backend) for backend in ("kernel", "tree")]
    torch.testing.assert_close(*outputs, rtol=6e-4, atol=2e-3)
    gradients = [torch.autograd.grad(output.square().sum(), list(inputs.values())) for output in outputs]
    for fused, ours in zip(*gradients, strict=True):
        assert relative(fused, ours) < 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("length", [1, 300])
def test_tree_on_cuda_equals_the_loop(length):
    inputs = {name: value.detach().cuda().requires_grad_() for name, value in random_inputs(length=length).items()}
    assert_agree(lambda **kw: selective_scan(**kw, backend="tree"), lambda **kw: loop(**kw)[0], inputs)


def ssd_inputs(batch=2, length=65, heads=4, head_dim=3, groups=2, states=5, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    draw = {
        "x": torch.randn(batch, length, heads, head_dim, generator=generator),
        "dt": torch.rand(batch, length, heads, generator=generator) * 0.5,
        "A": -8 * torch.rand(heads, generator=generator),
        "B": torch.randn(batch, length, groups, states, generator=generator),
        "C": torch.randn(batch, length, groups, states, generator=generator),
        "D": torch.randn(heads, generator=generator),
    }
    return {name: value.to(dtype).requires_grad_() for name, value in draw.items()}


def as_selective_scan(function, x, dt, A, B, C, D):
    """SSD written as Mamba-1: A and delta constant inside a head."""
    size = x.shape[-1]
    output = function(
        u=x.permute(0, 2, 3, 1).flatten(1, 2),
        delta=dt.transpose(1, 2).repeat_interleave(size, 1),
        A=A.repeat_interleave(size)[:, None].expand(-1, B.shape[-1]),
        B=B.permute(0, 2, 3, 1),
        C=C.permute(0, 2, 3, 1),
        D=D.repeat_interleave(size),
    )
    return output.unflatten(1, (-1, size)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("chunk", [16, 64])
@pytest.mark.parametrize("length", LENGTHS)
def test_ssd_and_gradients_equal_the_loop(length, chunk):
    assert_agree(
        lambda **kw: ssd_scan(**kw, chunk=chunk),
        lambda **kw: as_selective_scan(lambda **inner: loop(**inner)[0], **kw),
        ssd_inputs(length=length, seed=length),
    )


def test_ssd_equals_selective_scan_with_constant_decay_in_a_head():
    inputs = ssd_inputs(length=200, dtype=torch.float64)
    torch.testing.assert_close(ssd_scan(**inputs), as_selective_scan(selective_scan, **inputs))


def test_ssd_skip_weights_of_every_channel():
    inputs = ssd_inputs()
    wide = inputs | {"D": inputs["D"][:, None].expand(-1, 3)}
    assert torch.equal(ssd_scan(**wide), ssd_scan(**inputs))


def test_ssd_gradcheck():
    inputs = ssd_inputs(1, 7, 2, 2, 1, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *values: ssd_scan(*values, chunk=3), tuple(inputs.values()))


@pytest.mark.parametrize("rate", [1e-4, 1.0, 1e4])
def test_long_ssd_is_finite_and_exact(rate):
    inputs = ssd_inputs(1, 16_384, 2, 2, 1, 4)
    inputs["A"] = (inputs["A"] * rate).detach().requires_grad_()
    expected = as_selective_scan(
        lambda D, **kw: numpy_loop(kw) + D[:, None].detach() * kw["u"].detach(), **in_float64(inputs)
    )
    output = ssd_scan(**inputs)
    assert relative(output, expected) < 1e-5
    output.sum().backward()
    assert all(value.grad.isfinite().all() for value in inputs.values())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ssd_scan(**inputs), output)


def test_ssd_keeps_digits_after_a_huge_decay():
    # In one float32 cumulative sum, the forgetful first half of the chunk would eat the digits of the second half.
    inputs = {name: value.detach() for name, value in ssd_inputs(1, 64, 1, 2, 1, 3).items()}
    inputs["A"] = torch.tensor([-1.0])
    inputs["dt"] = torch.where(torch.arange(64) < 32, 3e4, 1e-2).view(1, 64, 1)
    expected = as_selective_scan(lambda **kw: loop(**kw)[0], **{k: v.double() for k, v in inputs.items()})
    assert relative(ssd_scan(**inputs)[:, 33:], expected[:, 33:]) < 1e-5


def test_ssd_groups_must_divide_heads():
    with pytest.raises(ValueError, match="3 groups of B and C do not divide 4 heads"):
        ssd_scan(**ssd_inputs(groups=3))


def seeded(mixer, *args, **options):
    torch.manual_seed(0)
    return mixer(*args, **options)


def test_mamba1_has_the_state_dict_of_mamba_ssm():
    shapes = {name: tuple(value.shape) for name, value in Mamba1Mixer(48).state_dict().items()}
    assert shapes == {
        "A_log": (96, 16),
        "D": (96,),
        "in_proj.weight": (192, 48),
        "conv1d.weight": (96, 1, 4),
        "conv1d.bias": (96,),
        "x_proj.weight": (3 + 2 * 16, 96),
        "dt_proj.weight": (96, 3),
        "dt_proj.bias": (96,),
        "out_proj.weight": (48, 96),
    }


def test_mamba1_initial_rates_and_step_sizes():
    mixer = seeded(Mamba1Mixer, 32)
    torch.testing.assert_close(mixer.A_log.exp(), torch.arange(1.0, 17.0).expand(64, -1))
    steps = F.softplus(mixer.dt_proj.bias)
    assert 0.999e-3 < steps.min() < steps.max() < 1.001e-1


def test_mamba1_is_the_block_of_the_paper():
    mixer, tokens = seeded(Mamba1Mixer, 8, d_state=4).double(), torch.randn(2, 30, 8, dtype=torch.float64)
    x, z = mixer.in_proj(tokens).transpose(1, 2).chunk(2, 1)
    x = F.silu(F.conv1d(x, mixer.conv1d.weight, mixer.conv1d.bias, padding=3, groups=16)[..., :30])
    steps, B, C = mixer.x_proj(x.transpose(1, 2)).split([1, 4, 4], -1)
    delta = F.softplus(mixer.dt_proj(steps)).transpose(1, 2)
    y, _ = loop(x, delta, -mixer.A_log.exp(), B.transpose(1, 2), C.transpose(1, 2), mixer.D, z)
    torch.testing.assert_close(mixer(tokens), mixer.out_proj(y.transpose(1, 2)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_causal_convolution_and_gradients_equal_conv1d(length):
    conv = seeded(Mamba1Mixer, 3).conv1d.double()
    tokens = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    expected = F.conv1d(tokens.transpose(1, 2), conv.weight, conv.bias, padding=3, groups=6)[..., :length]
    torch.testing.assert_close(conv(tokens), expected.transpose(1, 2))
    assert torch.autograd.gradcheck(
        lambda *values: torch.func.functional_call(
            conv, dict(zip(("weight", "bias"), values[1:], strict=True)), values[:1]
        ),
        (tokens, conv.weight, conv.bias),
    )


@pytest.mark.parametrize(("dim", "head_dim"), [(512, 64), (128, 64), (64, 32), (32, 16), (8, 4), (12, 4), (3, 1)])
def test_ssd_heads(dim, head_dim):
    mixer = SSDMixer(dim)
    assert mixer.head_dim == head_dim
    assert mixer.A_log.shape == (2 * dim // head_dim,)


def test_ssd_head_dim_must_divide():
    with pytest.raises(ValueError, match="head_dim 5 does not divide the 32 inner channels"):
        SSDMixer(16, head_dim=5)


@pytest.mark.parametrize("mixer", [Mamba1Mixer, SSDMixer])
def test_mixer_is_causal_and_trains(mixer):
    module, tokens = seeded(mixer, 16), torch.randn(2, 100, 16)
    changed = tokens.clone()
    changed[:, 60:] += 1
    before, after = module(tokens), module(changed)
    assert before.shape == tokens.shape
    torch.testing.assert_close(before[:, :60], after[:, :60])
    assert not torch.allclose(before[:, 60:], after[:, 60:])
    before.square().sum().backward()
    assert all(value.grad.abs().sum() > 0 for value in module.parameters())


@pytest.mark.parametrize("mixer", [Mamba1Mixer, SSDMixer])
def test_mixer_under_bf16_autocast(mixer):
    module, tokens = seeded(mixer, 16), torch.randn(1, 300, 16)
    expected = module(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = module(tokens)
    assert relative(mixed, expected) < 3e-2
    mixed.float().square().sum().backward()
    assert all(value.grad.isfinite().all() for value in module.parameters())


class Past(nn.Module):
    """Adds up the past: causal, and every order has another result."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.cumsum(1)


@pytest.mark.parametrize("order", ["unidi", "bidi", "cross4"])
def test_orders_equal_explicit_permutations(order):
    height, width = 3, 5
    tokens = torch.randn(2, height * width, 4)
    rows = torch.arange(height * width)
    columns = rows.view(height, width).t().flatten()
    walks = {"unidi": [rows], "bidi": [rows, rows.flip(0)]}
    walks["cross4"] = [*walks["bidi"], columns, columns.flip(0)]
    results = [tokens[:, walk].cumsum(1)[:, walk.argsort()] for walk in walks[order]]
    torch.testing.assert_close(DirectionalMixer(Past(), order)(tokens, height, width), torch.stack(results).mean(0))


@pytest.mark.parametrize("order", ["unidi", "bidi", "cross4"])
def test_orders_keep_the_scale(order):
    tokens = torch.randn(1, 12, 4)
    torch.testing.assert_close(DirectionalMixer(nn.Identity(), order)(tokens, 4, 3), tokens)


def test_order_needs_the_size_of_the_map():
    with pytest.raises(ValueError, match=r"12 tokens do not fill a map of 3 x 5"):
        DirectionalMixer(Past())(torch.zeros(1, 12, 4), 3, 5)


def test_arguments_follow_mamba_ssm():
    names = ", ".join(inspect.signature(selective_scan).parameters)
    assert names == "u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state, backend"


def test_a_steady_mixer_is_a_mean_of_the_past_that_begins_with_the_first_token():
    mixer = seeded(SSDMixer, 8, d_state=3, steady=True).double()
    tokens = torch.randn(1, 7, 8, dtype=torch.float64)
    gate, signal, steps = mixer.in_proj(tokens)[0].split(mixer.splits, -1)
    taps, bias = mixer.conv1d.weight[:, 0], mixer.conv1d.bias  # channels, taps
    outputs, rates = [], -mixer.A_log.exp()
    total, elapsed = torch.zeros(len(rates), mixer.head_dim, 3), torch.zeros(len(rates))
    for t in range(7):
        past = torch.stack([signal[max(0, t - back)] for back in range(3, -1, -1)])
        x, B, C = torch.nn.functional.silu((past * taps.T).sum(0) + bias).split(mixer.maps)
        x, dt = x.view(len(rates), -1), torch.nn.functional.softplus(steps[t] + mixer.dt_bias)
        decay = (dt * rates).exp()
        total = decay[:, None, None] * total + dt[:, None, None] * x[..., None] * B
        elapsed = elapsed + dt
        count = (1 - (elapsed * rates).exp()) / -rates
        y = total @ C / count[:, None] + mixer.D[:, None] * x
        outputs.append(mixer.norm(y.flatten() * torch.nn.functional.silu(gate[t])))
    assert torch.allclose(mixer(tokens)[0], mixer.out_proj(torch.stack(outputs)), atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 50, 400])
def test_a_steady_mixer_leaves_equal_tokens_equal_however_many_there_are(length):
    mixer = seeded(SSDMixer, 8, steady=True).double()
    token = torch.randn(1, 1, 8, dtype=torch.float64)
    mixed = mixer(token.expand(1, length, 8))
    assert torch.allclose(mixed, mixer(token).expand_as(mixed), atol=1e-9)
    unsteady = seeded(SSDMixer, 8).double()(token.expand(1, length, 8))
    assert length < 50 or not torch.allclose(unsteady[:, :1], unsteady[:, -1:], atol=1e-3)
