"""Two processes with the pictures of both contrasted are one process with the joined batch."""

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

from lightning_modules.internal_external.settings import LossWeights
from lightning_modules.losses.shared_attribute import arrange_pairs
from lightning_modules.networks.manner import MANNER_LAYERS
from lightning_modules.networks.mirrored_decoder import Texture
from lightning_modules.types import StyleBatch

STEPS = 3


def fit(model, batches, **options):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision="64-true",  # so that what differs is the arithmetic and not the rounding
        **options,
    )
    trainer.fit(model, DataLoader(batches, batch_size=None))
    kept = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    return kept | {name: buffer.clone() for name, buffer in model.generator.named_buffers()}


def join(one, other):
    return StyleBatch(
        torch.cat([one.content, other.content]),
        torch.cat([one.style, other.style]),
        torch.cat([one.artist, other.artist]),
        [*one.prompt, *other.prompt],
        torch.cat([one.index, other.index]),
    )


def two_groups(half):
    """Arrange a joined batch as two ranks do: contents are rolled among each rank's own."""
    content, style = arrange_pairs(half // 2)
    return torch.cat([content, content + half // 2]), torch.cat([style, style + half // 2])


def rank_main(rank, port, model, batches, out):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"RANK": str(rank), "NODE_RANK": "0"}
    # A tensor that comes through `spawn` lies in memory shared with the other rank, and both would step it.
    trained = fit(
        deepcopy(model),
        batches[rank::2],
        devices=2,
        use_distributed_sampler=False,
        strategy="ddp",
    )
    torch.save(trained, f"{out}{rank}.pt")


def on_two_ranks(run_ranks, model, batches, out):
    """Train on two ranks that take the batches in turn, and return the weights of the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    run_ranks(rank_main, port, model, batches, out)
    first, second = (torch.load(f"{out}{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    return first


@pytest.mark.slow
def test_two_ranks_that_gather_train_like_one_with_the_joined_batch(small, batch, monkeypatch, tmp_path, run_ranks):
    # Adam would turn the rounding noise of gradients that are truly 0 into steps of full length.
    sgd = partial(torch.optim.SGD, lr=1e-3, momentum=0.9)
    batches = [batch(2, seed=n) for n in range(2 * STEPS)]

    def build():
        model = small(gather=True)
        model.make_optimizer = model.make_discriminator_optimizer = sgd
        return model

    apart = on_two_ranks(run_ranks, build(), batches, str(tmp_path / "rank"))
    alone = build()
    start = {name: p.detach().clone() for name, p in alone.named_parameters() if p.requires_grad}
    monkeypatch.setattr(alone, "arrange", two_groups)
    joined = fit(alone, [join(batches[n], batches[n + 1]) for n in range(0, 2 * STEPS, 2)], devices=1)
    assert apart.keys() == joined.keys()
    for name, expected in joined.items():
        moved = (expected - start[name]).abs().max()
        assert torch.allclose(apart[name], expected, atol=1e-12 + 1e-6 * float(moved)), name
        assert moved > 1e-8 or name.endswith((".key.bias", ".2.bias", ".5.bias", ".8.bias")), (
            name
        )  # truly 0 before norms


def four_groups(half):
    """Arrange a joined batch as two ranks do that take two batches each."""
    content, style = arrange_pairs(half // 4)
    groups = [half // 4 * group for group in range(4)]
    return torch.cat([content + first for first in groups]), torch.cat([style + first for first in groups])


@pytest.mark.slow
def test_two_ranks_with_an_effective_batch_train_like_one_with_the_joined_batch(
    small, batch, monkeypatch, tmp_path, run_ranks
):
    sgd = partial(torch.optim.SGD, lr=1e-3, momentum=0.9)
    batches = [batch(2, seed=n) for n in range(4 * STEPS)]

    def build(**settings):
        model = small(clip=1.0, **settings)
        model.make_optimizer = model.make_discriminator_optimizer = sgd
        return model

    apart = on_two_ranks(run_ranks, build(effective_batch=16), batches, str(tmp_path / "rank"))
    alone = build()
    start = {name: p.detach().clone() for name, p in alone.named_parameters() if p.requires_grad}
    monkeypatch.setattr(alone, "arrange", four_groups)
    windows = [batches[start : start + 4] for start in range(0, 4 * STEPS, 4)]
    joined = fit(alone, [join(join(a, b), join(c, d)) for a, b, c, d in windows], devices=1)
    for name, expected in joined.items():
        moved = (expected - start[name]).abs().max()
        assert torch.allclose(apart[name], expected, atol=1e-12 + 1e-6 * float(moved)), name


@pytest.mark.slow
def test_ranks_agree_about_the_paintings_that_standardise_manners(small, batch, tmp_path, run_ranks):
    sgd = partial(torch.optim.SGD, lr=1e-3)
    batches = [batch(2, seed=n) for n in range(2 * STEPS)]
    loss = LossWeights(texture=0.5, manner_contrast=0.5)
    model = small(gather=True, texture=Texture((3, 4, 5), 6), loss=loss, critic_optimizer=sgd).double()
    model.make_optimizer = model.make_discriminator_optimizer = sgd
    apart = on_two_ranks(run_ranks, model, batches, str(tmp_path / "rank"))
    manner = model.generator.manner
    seen = torch.cat([manner.measure(model.encoder(data.style.double(), MANNER_LAYERS)) for data in batches])
    assert torch.allclose(apart["manner.mean"], seen.mean(0))
    assert torch.allclose(apart["manner.variance"], seen.var(0, correction=0))
