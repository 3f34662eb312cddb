"""Two processes with an effective batch over both are one process with the joined batch."""

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

from lightning_modules.clast.settings import LossWeights
from lightning_modules.types import StyleBatch

SIZE, STEPS, PARTS = 2, 2, 4  # two ranks of two batches a step
ARTISTS = ("Ada Stipple", "Bob Hatch", "Cid Wash")


def fit(model, batches, **options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    # In double precision, so that what differs is the arithmetic and not the rounding.
    trainer = Trainer(accelerator="cpu", max_steps=STEPS, precision="64-true", **quiet, **options)
    trainer.fit(model, DataLoader(batches, batch_size=None))
    kept = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    return kept | {"prototypes": model.prototypes.means.clone()}


def rank_main(rank, port, model, batches, out):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"RANK": str(rank), "NODE_RANK": "0"}
    # A tensor that comes through `spawn` lies in memory shared with the other rank, and both would step it.
    settings = {"devices": 2, "use_distributed_sampler": False, "strategy": "ddp"}
    torch.save(fit(deepcopy(model), batches[rank::2], **settings), f"{out}{rank}.pt")


def painting(number):
    generator = torch.Generator().manual_seed(number)
    content, style, reference = (torch.rand(SIZE, 3, 32, 32, generator=generator) for _ in range(3))
    artist = torch.tensor([number % 2, 2])  # all but one share an artist with a picture of another part
    return StyleBatch(content, style, artist, [ARTISTS[a] for a in artist], torch.arange(SIZE), reference)


@pytest.mark.slow
def test_two_ranks_with_an_effective_batch_train_like_one_with_the_joined_batch(
    small_clast, joined, tmp_path, run_ranks
):
    batches = [painting(number) for number in range(PARTS * STEPS)]

    def build(**settings):
        # Patches are drawn, a large batch draws others; the shares of the terms are measured on the first part.
        loss = LossWeights(clip_patch=0.0, contrastive=2.0)
        model = small_clast(
            loss=loss, prototype_shrinkage=2.0, text_fraction=1.0, balance_until=0, clip=1.0, **settings
        )
        model._sentences = list
        model.make_optimizer = partial(torch.optim.SGD, lr=1e-3, momentum=0.9)
        model.prototypes.start(ARTISTS, model.prompts(list(ARTISTS)), [1, 2, 3])
        return model

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    out = str(tmp_path / "rank")
    run_ranks(rank_main, port, build(effective_batch=SIZE * PARTS), batches, out)
    first, second = (torch.load(f"{out}{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)

    alone = build()
    start = {name: p.detach().clone() for name, p in alone.named_parameters() if p.requires_grad}
    wanted = fit(alone, [joined(batches[n : n + PARTS]) for n in range(0, PARTS * STEPS, PARTS)], devices=1)
    assert torch.allclose(first.pop("prototypes"), wanted.pop("prototypes"), rtol=1e-6)
    for name, expected in wanted.items():
        moved = float((expected - start[name]).abs().max())
        assert torch.allclose(first[name], expected, atol=1e-12 + 1e-6 * moved), name
    assert (wanted["proj.weight"] - start["proj.weight"]).abs().max() > 1e-8
