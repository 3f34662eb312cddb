"""Two gloo processes must learn what one process learns from the joined batch."""

import torch
from torch import distributed as dist

from lightning_modules.losses.contrastive import supervised_contrastive_loss
from lightning_modules.losses.distributed import gather_with_gradient, rank_offset


def batch(lengths):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(sum(lengths), 5, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (sum(lengths),), generator=generator)


def head():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 4, generator=generator, dtype=torch.float64).requires_grad_()


def local_anchors(z, labels):
    return supervised_contrastive_loss(
        z,
        labels,
        candidates=gather_with_gradient(z),
        candidate_labels=gather_with_gradient(labels),
        offset=rank_offset(len(z)),
    )


def joined_anchors(z, labels):
    return supervised_contrastive_loss(gather_with_gradient(z), gather_with_gradient(labels))


def uneven_anchors(z, labels):
    start = rank_offset(len(z), equal=False)
    everyone, all_labels = (gather_with_gradient(rows, equal=False) for rows in (z, labels))
    assert torch.equal(everyone[start : start + len(z)], z)
    return supervised_contrastive_loss(everyone, all_labels)


CASES = (((6, 6), local_anchors), ((5, 5), joined_anchors), ((7, 4), uneven_anchors))


def rank_main(rank, store, out):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    results, gathers, all_gather = [], [], dist.all_gather

    def counting(parts, tensor):
        gathers.append(tensor.shape)
        all_gather(parts, tensor)

    dist.all_gather = counting
    for lengths, form in CASES:
        gathers.clear()
        inputs, labels = batch(lengths)
        start = sum(lengths[:rank])
        mine = slice(start, start + lengths[rank])
        weight = head()
        value = form(inputs[mine] @ weight, labels[mine])
        value.backward()
        averages = torch.cat([value.detach()[None], weight.grad.flatten()])
        dist.all_reduce(averages)  # what DDP does to gradients
        # Two gathers with their payload; lengths, once for each and once for the offset, only where they may differ.
        assert len(gathers) == (2 if lengths[0] == lengths[1] else 5), gathers
        results.append(averages / 2)
    if rank == 0:
        torch.save(results, out)
    dist.destroy_process_group()


def test_two_ranks_equal_one_process(tmp_path, run_ranks):
    run_ranks(rank_main, str(tmp_path / "store"), str(tmp_path / "out.pt"))
    for (lengths, _), averages in zip(CASES, torch.load(tmp_path / "out.pt"), strict=True):
        inputs, labels = batch(lengths)
        weight = head()
        value = supervised_contrastive_loss(inputs @ weight, labels)
        value.backward()
        torch.testing.assert_close(averages[0], value.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(averages[1:], weight.grad.flatten(), rtol=1e-11, atol=1e-12)


def test_one_process_keeps_its_tensor():
    z = torch.randn(3, 2)
    assert gather_with_gradient(z) is z
    assert rank_offset(3) == 0
