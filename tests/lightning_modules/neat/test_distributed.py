"""Two processes that contrast with each other's pictures and crops are one process with the joined batch."""

import lightning_modules  # noqa: F401  (a spawned rank reads this file first: the shim must come before lightning)

# isort: split
import os
import socket
from copy import deepcopy
from functools import partial

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from lightning_modules.losses.shared_attribute import arrange_pairs
from lightning_modules.neat import patch_pair
from lightning_modules.neat.windows import draw_windows

STEPS = 3


CALLS = 3  # of `draw_windows` in a step: the stylised pictures, and twice the styles


class Windows:
    """Draws the same windows on every rank, and for a joined batch those of the ranks' micro-batches."""

    def __init__(self, ranks=1, each=1):
        self.ranks, self.each, self.calls = ranks, each, 0

    def __call__(self, batch, *arguments):
        step, call = divmod(self.calls, CALLS)
        self.calls += 1
        seeds = [CALLS * (self.each * step + part) + call for part in range(self.each)]
        drawn = [self.draw(seed, batch // (self.ranks * self.each), *arguments) for seed in seeds]
        return torch.cat([windows.repeat(self.ranks, 1, 1) for windows in drawn])

    def draw(self, seed, *arguments):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return draw_windows(*arguments).double()


def fit(model, batches, **options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    # In double precision, so that what differs is the arithmetic and not the rounding.
    trainer = Trainer(accelerator="cpu", max_steps=STEPS, precision="64-true", **quiet, **options)
    trainer.fit(model, DataLoader(batches, batch_size=None))
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def in_groups(groups, half):
    """Arrange a joined batch as its parts are: contents are rolled among each part's own."""
    content, style = arrange_pairs(half // groups)
    starts = [half // groups * group for group in range(groups)]
    return torch.cat([content + start for start in starts]), torch.cat([style + start for start in starts])


def rank_main(rank, port, model, batches, out):
    torch.set_num_threads(1)
    patch_pair.draw_windows = Windows()
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"RANK": str(rank), "NODE_RANK": "0"}
    # A tensor that comes through `spawn` lies in memory shared with the other rank, and both would step it.
    settings = {"devices": 2, "use_distributed_sampler": False, "strategy": "ddp"}
    torch.save(fit(deepcopy(model), batches[rank::2], **settings), f"{out}{rank}.pt")


@pytest.mark.slow
@pytest.mark.parametrize("each", [1, 2], ids=["gathered", "effective"])
def test_two_ranks_that_contrast_train_like_one_with_the_joined_batch(
    small, batch, joined, monkeypatch, tmp_path, run_ranks, each
):
    # Adam would turn the rounding noise of gradients that are truly 0 into steps of full length.
    sgd, groups = partial(torch.optim.SGD, lr=1e-3, momentum=0.9), 2 * each
    batches = [batch(2, seed=n, dtype=torch.float64) for n in range(groups * STEPS)]

    def build(**settings):
        model = small(patch_optimizer=sgd, **settings).double()
        model.make_optimizer = model.make_discriminator_optimizer = sgd
        return model

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # Of every micro-batch come four stylised pictures.
    apart = build(gather=True) if each == 1 else build(effective_batch=4 * groups)
    run_ranks(rank_main, port, apart, batches, str(tmp_path / "rank"))
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)

    alone = build()
    start = {name: p.detach().clone() for name, p in alone.named_parameters() if p.requires_grad}
    monkeypatch.setattr(alone, "arrange", partial(in_groups, groups))
    monkeypatch.setattr(patch_pair, "draw_windows", Windows(2, each))
    windows = [batches[n : n + groups] for n in range(0, groups * STEPS, groups)]
    wanted = fit(alone, [joined(parts) for parts in windows], devices=1)
    assert first.keys() == wanted.keys()
    for name, expected in wanted.items():
        moved = (expected - start[name]).abs().max()
        assert torch.allclose(first[name], expected, atol=1e-12 + 1e-6 * float(moved)), name
        assert moved > 1e-8 or name.endswith("bias"), name  # before a norm their gradients are truly 0
