"""Two ranks with a batch each are one process with both, however the gradients come about."""

import lightning_modules  # noqa: F401  (a spawned rank reads this file first: the shim must come before lightning)

# isort: split
import os
import socket

import torch
from lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.experiment import Experiment

STEPS = 4


class Mixed(Experiment):
    """Two networks in turn; the first in two backward passes, the second by gradients of two roles."""

    def __init__(self):
        super().__init__(clip=0.5, accumulate=2)
        torch.manual_seed(0)
        self.first, self.second, self.unused = (nn.Linear(3, 3) for _ in range(3))

    def training_step(self, batch, batch_idx):
        first, second = self._optimizers()
        if (batch_idx // self.accumulate) % 2 == 0:
            with self.optimizing(first) as backward:
                for half in batch.chunk(2):
                    backward(self.second(self.first(half)).square().mean() / 2)
            return
        with self.role_gradients(second, ("keep", "avoid"), self.combine) as roles:
            out = self.second(self.first(batch))
            roles.backward("keep", (out - 1).square().mean(), retain_graph=True)
            roles.backward("avoid", out.square().mean())

    @staticmethod
    def combine(gradients):
        p, n = (torch.cat([g.flatten() for g in gradients[role]]) for role in ("keep", "avoid"))
        combined = p - (p @ n) / (n @ n) * n
        shapes = gradients["keep"]
        return [part.view_as(g) for part, g in zip(combined.split([g.numel() for g in shapes]), shapes, strict=True)]

    def configure_optimizers(self):
        used = [*self.first.parameters(), *self.unused.parameters()]
        return [torch.optim.SGD(used, 0.5), torch.optim.SGD(self.second.parameters(), 0.5)]


def data():
    return torch.rand(4 * STEPS, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def fit(batches, **options):
    module = Mixed()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(
        accelerator="cpu", max_steps=STEPS, precision="64-true", use_distributed_sampler=False, **quiet, **options
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))
    assert trainer.global_step == STEPS
    return module.state_dict()


def rank_main(rank, port, out):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"RANK": str(rank), "NODE_RANK": "0"}
    torch.save(fit(list(data()[rank::2]), devices=2, strategy="ddp"), f"{out}{rank}.pt")


def test_two_ranks_are_one_process_with_the_joined_batch(tmp_path, run_ranks):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    run_ranks(rank_main, port, str(tmp_path / "rank"))
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    # Interleaved, so that the halves of the joined batch are halves of both ranks' batches.
    pairs = zip(data()[::2], data()[1::2], strict=True)
    joined = fit([torch.stack(pair, 1).flatten(0, 1) for pair in pairs], devices=1)
    start = Mixed().state_dict()
    for name, expected in joined.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name], expected, rtol=1e-9, atol=1e-12), name
        assert name.startswith("unused") == torch.equal(expected, start[name].double()), name
