"""Token mixers around the scans: Mamba-1 with the parameters of mamba-ssm, and a Mamba-2-like block."""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lightning_modules.losses.precision import at_least_float32, expm1
from lightning_modules.networks.mamba_scan import selective_scan
from lightning_modules.networks.ssd import ssd_scan

STEP_RANGE = (1e-3, 1e-1)
STEP_FLOOR = 1e-4


class CausalConv(nn.Conv1d):
    """Convolve every channel over its own past.

    Args:
        channels: Channels of a token.
        taps: Length of the kernel; its last tap meets the present.
    """

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__(channels, channels, taps, groups=channels, padding=taps - 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Convolve ``(B, L, C)`` tokens; same shape and dtype out."""
        bias = self.weight.new_zeros(self.out_channels) if self.bias is None else self.bias
        if torch.compiler.is_exporting():
            return _padded_products(tokens, self.weight.squeeze(1).t(), bias)
        output: Tensor = _ShiftedProducts.apply(tokens, self.weight.squeeze(1).t(), bias)
        return output


def _padded_products(tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Do what `_ShiftedProducts` does, for any number of tokens and without writing into what is there."""
    taps, length = len(weight), tokens.shape[1]
    padded = F.pad(tokens, (0, 0, taps - 1, 0))
    return bias + sum((padded[:, tap : length + tap] * weight[tap] for tap in range(taps)), start=torch.zeros(()))


class _ShiftedProducts(torch.autograd.Function):
    """A causal convolution as one product per tap.

    On a CPU a grouped convolution over ``(B, C, L)`` is slower with its two transpositions, and so is autograd's way
    through the shifts, which pads every one of them with zeros.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, weight)
        length, present = tokens.shape[1], len(weight) - 1
        output = torch.addcmul(bias, tokens, weight[present])
        for shift in range(1, min(len(weight), length)):
            output[:, shift:].addcmul_(tokens[:, : length - shift], weight[present - shift])
        return output.to(tokens.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens, weight = ctx.saved_tensors
        grad = grad.to(weight.dtype)
        length, present = tokens.shape[1], len(weight) - 1
        grad_tokens, grad_weight = grad * weight[present], torch.zeros_like(weight)
        grad_weight[present] = (grad * tokens).sum((0, 1))
        for shift in range(1, min(len(weight), length)):
            late, early = grad[:, shift:], slice(0, length - shift)
            grad_tokens[:, early].addcmul_(late, weight[present - shift])
            grad_weight[present - shift] = (late * tokens[:, early]).sum((0, 1))
        return grad_tokens.to(tokens.dtype), grad_weight, grad.sum((0, 1)).to(weight.dtype)


def _initial_step_bias(count: int) -> Tensor:
    """Inverse softplus of step sizes that are log-uniform over ``STEP_RANGE``."""
    low, high = (math.log(bound) for bound in STEP_RANGE)
    steps = torch.empty(count).uniform_(low, high).exp_().clamp_(min=STEP_FLOOR)
    return steps + torch.log(-torch.expm1(-steps))


class Mamba1Mixer(nn.Module):
    """Mamba-1's block, one direction; its state dict is that of ``mamba_ssm.Mamba``.

    Args:
        dim: Channels of a token.
        d_state: States per channel.
        d_conv: Taps of the causal convolution.
        expand: Inner channels per channel.

    Source: Gu & Dao 2023, section 3.4; mamba-ssm ``modules/mamba_simple.py`` for names, shapes and initialisation.
    """

    def __init__(self, dim: int, d_state: int = 16, d_conv: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, rank = expand * dim, math.ceil(dim / 16)
        self.splits = (rank, d_state, d_state)
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = CausalConv(inner, d_conv)
        self.x_proj = nn.Linear(inner, sum(self.splits), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(_initial_step_bias(inner))

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix ``(B, L, C)`` tokens causally; same shape out."""
        u, gate = self.in_proj(tokens).chunk(2, -1)
        u = F.silu(self.conv1d(u))
        low_rank, B, C = self.x_proj(u).split(self.splits, -1)
        output = selective_scan(
            u.transpose(1, 2),
            F.linear(low_rank, self.dt_proj.weight).transpose(1, 2),
            -self.A_log.float().exp(),
            B.transpose(1, 2),
            C.transpose(1, 2),
            self.D,
            gate.transpose(1, 2),
            self.dt_proj.bias,
            delta_softplus=True,
        )
        mixed: Tensor = self.out_proj(output.transpose(1, 2))
        return mixed


class SSDMixer(nn.Module):
    """Mamba-2-like block, one direction: one decay per head, so that the scan is a few matrix products.

    Args:
        dim: Channels of a token.
        d_state: States per channel.
        head_dim: Channels that share a decay; by default the largest power of two up to 64 that leaves at least four
            heads, for with one or two heads a narrow block would remember at one or two time scales only.
        d_conv: Taps of the causal convolution.
        expand: Inner channels per channel.
        chunk: Time steps in a chunk of :func:`~lightning_modules.networks.ssd.ssd_scan`.
        steady: Whether the output is a mean of the past instead of its sum, and the past of the first token is that
            token. A map of one colour then stays one, whatever its size; otherwise the scan begins from nothing, which
            leaves a spot in the corner, and goes on for longer than in training on a larger picture. The sum is divided
            by ``(1 - exp(A T)) / -A`` with T the steps so far, what a constant would add up to in continuous time.

    Raises:
        ValueError: If ``head_dim`` does not divide the inner channels.

    Source: Dao & Gu 2024, section 7; mamba-ssm ``modules/mamba2.py`` for names and initialisation, one group.
    """

    def __init__(
        self,
        dim: int,
        d_state: int = 32,
        head_dim: int | None = None,
        d_conv: int = 4,
        expand: int = 2,
        chunk: int = 64,
        *,
        steady: bool = False,
    ) -> None:
        super().__init__()
        inner = expand * dim
        if head_dim is None:
            head_dim = next((size for size in (64, 32, 16, 8, 4, 2) if inner % size == 0 and inner // size >= 4), 1)
        if inner % head_dim:
            raise ValueError(f"head_dim {head_dim} does not divide the {inner} inner channels.")
        heads = inner // head_dim
        self.head_dim, self.chunk, self.steady = head_dim, chunk, steady
        self.splits = (inner, inner + 2 * d_state, heads)
        self.maps = (inner, d_state, d_state)
        self.in_proj = nn.Linear(dim, sum(self.splits), bias=False)
        self.conv1d = CausalConv(self.splits[1], d_conv)
        self.dt_bias = nn.Parameter(_initial_step_bias(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix ``(B, L, C)`` tokens causally; same shape out."""
        gate, signal, steps = self.in_proj(tokens).split(self.splits, -1)
        x, B, C = F.silu(self._convolve(signal)).split(self.maps, -1)
        x, steps = x.unflatten(-1, (-1, self.head_dim)), F.softplus(at_least_float32(steps) + self.dt_bias)
        rates = -at_least_float32(self.A_log).exp()
        if self.steady:
            total = ssd_scan(x, steps, rates, B.unsqueeze(2), C.unsqueeze(2), chunk=self.chunk)
            weight = expm1(rates * steps.cumsum(1)) / rates  # b, L, heads
            output = torch.addcmul(total / weight.unsqueeze(-1), x, self.D[:, None])
        else:
            output = ssd_scan(x, steps, rates, B.unsqueeze(2), C.unsqueeze(2), self.D, self.chunk)
        gated = output.flatten(2) * F.silu(gate)
        mixed: Tensor = self.out_proj(self.norm(gated.to(self.norm.weight.dtype)))
        return mixed

    def _convolve(self, signal: Tensor) -> Tensor:
        if not self.steady:
            return cast(Tensor, self.conv1d(signal))
        before = self.conv1d.kernel_size[0] - 1
        return cast(Tensor, self.conv1d(torch.cat([signal[:, :1].expand(-1, before, -1), signal], 1))[:, before:])
