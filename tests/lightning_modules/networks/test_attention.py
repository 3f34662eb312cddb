"""Attention against its definition, place by place, and what it keeps in memory."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_modules.networks.attention import attend, attend_in_chunks

N, M, C = 300, 400, 8


class Largest(TorchDispatchMode):
    """Notes how many elements the largest tensor has that an operation returns."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return result


def places(count, channels=C, *, batch=2, spread=1.0, dtype=torch.float64, seed=0, layout="tokens"):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, count, channels, generator=generator, dtype=torch.float64).to(dtype) * spread
    if layout == "maps":  # as features of shape (B, C, H, W) are turned into places
        tokens = tokens.transpose(1, 2).contiguous().transpose(1, 2)
    return tokens.detach().requires_grad_()


def example(**how):
    return [places(count, seed=seed, **how) for seed, count in enumerate((N, M, M))]


def literal(queries, keys, values):
    rows = []
    for picture in range(len(queries)):
        for query in queries[picture]:
            weights = [torch.exp(logit - 20) for logit in (keys[picture] * query).sum(1)]
            rows.append(sum(w * v for w, v in zip(weights, values[picture], strict=True)) / sum(weights))
    return torch.stack(rows).view(len(queries), -1, values.shape[-1])


def test_a_place_gathers_values_by_the_unscaled_likeness_of_keys():
    queries, keys, values = places(5), places(7, seed=1), places(7, seed=2)
    assert torch.allclose(attend(queries, keys, values), literal(queries, keys, values), atol=1e-12)


@pytest.mark.parametrize("rows", [1, 7, 20, 200])
def test_chunks_are_the_whole_and_so_are_their_gradients(rows):
    whole, parts = ([places(20), places(30, seed=1), places(30, seed=2)] for _ in range(2))
    expected, found = attend(*whole), attend_in_chunks(*parts, rows)
    assert torch.allclose(found, expected, atol=1e-12)
    weight = places(20, seed=3).detach()
    for result in (expected, found):
        (result * weight).sum().backward()
    for a, b in zip(whole, parts, strict=True):
        assert torch.allclose(b.grad, a.grad, atol=1e-11)


@pytest.mark.parametrize("layout", ["tokens", "maps"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_tensor_holds_all_pairs_of_places(layout, dtype):
    parts = example(layout=layout, dtype=dtype)
    with Largest() as largest:
        attend(*parts).square().sum().backward()
    assert largest.elements < N * M // 4


@pytest.mark.parametrize("learns", [True, False])
def test_where_there_is_no_kernel_the_logits_keep_within_the_budget(learns):
    parts = [part.detach().requires_grad_(learns) for part in example(dtype=torch.float32)]
    narrow = parts[2][..., :3]  # no kernel of the CPU's has values of another width
    rows, kept = 10, []
    keeping = torch.autograd.graph.saved_tensors_hooks(
        lambda part: kept.append(part.numel()) or part, lambda part: part
    )
    with Largest() as largest, keeping:
        result = attend(parts[0], parts[1], narrow, budget=rows * 2 * M * 4 + 3)
        if learns:
            result.square().sum().backward()
    assert largest.elements == rows * 2 * M
    assert sum(kept) < N * M // 4
    assert torch.allclose(result, attend(*parts)[..., :3], atol=1e-5)


def test_a_row_that_exceeds_the_budget_is_computed_all_the_same():
    parts = [places(5), places(7, seed=1), places(7, seed=2)]
    assert torch.allclose(attend(parts[0], parts[1], parts[2][..., :2], budget=1), attend(*parts)[..., :2], atol=1e-12)


def test_half_precision_is_left_alone_by_autocast_and_large_logits_stay_finite():
    parts = [part.detach() for part in example(dtype=torch.bfloat16, spread=40.0)]
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(*parts)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), attend(*(part.double() for part in parts)), rtol=1e-4, atol=1e-3)
