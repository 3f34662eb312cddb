"""Gradients kept apart, in one process and over two ranks."""

import pytest
import torch
from torch import nn

from lightning_modules.optim.ranks import average_over_ranks
from lightning_modules.optim.roles import RoleGradients


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def inputs(count=4):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


LOSSES = {"keep": lambda out: out.square().mean(), "avoid": lambda out: (out - 1).abs().mean()}


def backward(loss, *, retain_graph=False):
    loss.backward(retain_graph=retain_graph)


def project(gradients):
    """Take away from the first role what points along the second, all parameters as one vector."""
    p, n = (torch.cat([g.flatten() for g in gradients[role]]) for role in ("keep", "avoid"))
    combined = p - (p @ n) / (n @ n) * n
    return [
        part.view_as(like)
        for part, like in zip(combined.split([g.numel() for g in gradients["keep"]]), gradients["keep"], strict=True)
    ]


def expected(batch):
    """Combine the gradients of the whole batch, by torch.autograd.grad."""
    plain = network()
    gradients = {
        role: list(torch.autograd.grad(loss(plain(batch)), list(plain.parameters()))) for role, loss in LOSSES.items()
    }
    return project(gradients)


def collect(net, micro_batches, window):
    roles = RoleGradients(list(net.parameters()), list(LOSSES), backward, window)
    for batch in micro_batches:
        for role, loss in LOSSES.items():
            roles.backward(role, loss(net(batch)))
    roles.write(project)
    return [parameter.grad for parameter in net.parameters()]


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_a_window_combines_what_the_whole_batch_gives(pieces):
    found = collect(network(), inputs().chunk(pieces), pieces)
    for ours, theirs in zip(found, expected(inputs()), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=0)


def test_a_parameter_that_one_role_reaches_is_zero_for_the_other_and_one_that_none_reaches_stays_out():
    near, far, other = (nn.Parameter(torch.ones(2)) for _ in range(3))
    roles = RoleGradients([near, far, other], ["keep", "avoid"], backward, 1)
    roles.backward("keep", near.sum() + far.sum(), retain_graph=True)
    roles.backward("avoid", 3 * far.sum())
    seen = {}

    def remember(gradients):
        seen.update(gradients)
        return [k - a for k, a in zip(gradients["keep"], gradients["avoid"], strict=True)]

    roles.write(remember)
    assert [g.tolist() for g in seen["avoid"]] == [[0, 0], [3, 3]]
    assert near.grad.tolist() == [1, 1]
    assert far.grad.tolist() == [-2, -2]
    assert other.grad is None


def test_gradients_that_came_otherwise_count_like_the_others():
    p = nn.Parameter(torch.ones(2))
    roles = RoleGradients([p], ["keep"], backward, 2)
    roles.add("keep", [torch.tensor([2.0, 4.0])])
    roles.add("keep", [None])
    roles.backward("keep", (p * torch.tensor([4.0, 0.0])).sum())
    roles.write(lambda gradients: gradients["keep"])
    assert p.grad.tolist() == [3.0, 2.0]


def of_a_rank(rank, folder):
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    share = inputs().chunk(2)[rank]
    roles = collect(network(), share.chunk(2), 2)
    a, b, c = (torch.ones(2, dtype=torch.float64) for _ in range(3))
    plain = average_over_ranks([2 * a, b if rank else None, None], [a, b, c])
    torch.save({"roles": roles, "plain": plain}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_combine_what_one_process_with_the_joined_batch_does(tmp_path, run_ranks):
    run_ranks(of_a_rank, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for one, other, theirs in zip(first["roles"], second["roles"], expected(inputs()), strict=True):
        assert torch.equal(one, other)
        assert torch.allclose(one, theirs, rtol=1e-12, atol=0)
    # What one rank left out counts as zero, what both left out stays out.
    for found in (first["plain"], second["plain"]):
        assert found[0].tolist() == [2, 2]
        assert found[1].tolist() == [0.5, 0.5]
        assert found[2] is None
