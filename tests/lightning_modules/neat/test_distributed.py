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
from lightning_modules.types import StyleBatch

STEPS = 3


class Windows:
    """Draws the same windows in every process, and for a joined batch those of its groups."""

    def __init__(self, groups):
        self.groups, self.calls = groups, 0

    def __call__(self, batch, *arguments):
        self.calls += 1
        with torch.random.fork_rng():
            torch.manual_seed(self.calls)
            return draw_windows(batch // self.groups, *arguments).double().repeat(self.groups, 1, 1)


def fit(model, batches, **options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    # In double precision, so that what differs is the arithmetic and not the rounding.
    trainer = Trainer(accelerator="cpu", max_steps=STEPS, precision="64-true", **quiet, **options)
    trainer.fit(model, DataLoader(batches, batch_size=None))
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def join(one, other):
    def both(name):
        return torch.cat([getattr(one, name), getattr(other, name)])

    images = {name: both(name) for name in ("content", "style", "artist", "index", "views")}
    return StyleBatch(prompt=[*one.prompt, *other.prompt], **images)


def two_groups(half):
    """Arrange a joined batch as two ranks do: contents are rolled among each rank's own."""
    content, style = arrange_pairs(half // 2)
    return torch.cat([content, content + half // 2]), torch.cat([style, style + half // 2])


def rank_main(rank, port, model, batches, out):
    torch.set_num_threads(1)
    patch_pair.draw_windows = Windows(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"RANK": str(rank), "NODE_RANK": "0"}
    # A tensor that comes through `spawn` lies in memory shared with the other rank, and both would step it.
    settings = {"devices": 2, "use_distributed_sampler": False, "strategy": "ddp"}
    torch.save(fit(deepcopy(model), batches[rank::2], **settings), f"{out}{rank}.pt")


@pytest.mark.slow
def test_two_ranks_that_gather_train_like_one_with_the_joined_batch(small, batch, monkeypatch, tmp_path):
    # Adam would turn the rounding noise of gradients that are truly 0 into steps of full length.
    sgd = partial(torch.optim.SGD, lr=1e-3, momentum=0.9)
    batches = [batch(2, seed=n, dtype=torch.float64) for n in range(2 * STEPS)]

    def build():
        model = small(gather=True, patch_optimizer=sgd).double()
        model.make_optimizer = model.make_discriminator_optimizer = sgd
        return model

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torch.multiprocessing.spawn(rank_main, (port, build(), batches, str(tmp_path / "rank")), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)

    alone = build()
    start = {name: p.detach().clone() for name, p in alone.named_parameters() if p.requires_grad}
    monkeypatch.setattr(alone, "arrange", two_groups)
    monkeypatch.setattr(patch_pair, "draw_windows", Windows(2))
    joined = fit(alone, [join(batches[n], batches[n + 1]) for n in range(0, 2 * STEPS, 2)], devices=1)
    assert first.keys() == joined.keys()
    for name, expected in joined.items():
        moved = (expected - start[name]).abs().max()
        assert torch.allclose(first[name], expected, atol=1e-12 + 1e-6 * float(moved)), name
        assert moved > 1e-8 or name.endswith("bias"), name  # before a norm their gradients are truly 0
