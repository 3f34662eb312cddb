"""A training step on two ranks is the equations' step over the joined batch: terms, balance and reduced gradient."""

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

from lightning_modules.types import StyleBatch

HALF = 2  # samples of each rank


def half(data, rank):
    return StyleBatch(*[None if values is None else values[HALF * rank :][:HALF] for values in data])


def together(equations, one, other):
    """Return the draws of both ranks as those of the joined batch."""
    one, other = (equations.Draws(**draws) for draws in (one, other))
    moved = {name: [i + HALF for i in getattr(other, name)] for name in ("own", "mixed", "partner")}
    return equations.Draws(
        sentences=one.sentences + other.sentences,
        by_text=[],
        corners=[a + b for a, b in zip(one.corners, other.corners, strict=True)],
        warps=torch.cat([one.warps, other.warps], 2),
        **{name: getattr(one, name) + rows for name, rows in moved.items()},
        weight=one.weight + other.weight,
        seeds=one.seeds[:HALF] + other.seeds[:HALF] + one.seeds[HALF:] + other.seeds[HALF:],
    )


def split(draws, part):
    """Return what a rank's critic must know of the joined draws: it judges the rank's own pictures."""
    rows = {"sentences": draws.sentences[part], "weight": draws.weight[part]}
    return draws._replace(**rows, partner=[i - part.start for i in draws.partner[part]])


def rank_main(rank, port, equations, model, data, out):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"RANK": str(rank), "NODE_RANK": "0"}
    # A tensor that comes through `spawn` lies in memory shared with the other rank, and both would step it.
    model, data = deepcopy((model, half(data, rank)))
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        use_distributed_sampler=False,
        precision="64-true",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with equations.noting(model) as notes:
        trainer.fit(model, DataLoader([data], batch_size=None))
    result = {
        "draws": equations.drawn(model, data, notes)._asdict(),
        "codes": notes["codes"][:HALF],
        "terms": {name: term.detach() for name, term in notes["terms"].items()},
        "after": {name: parameter.detach() for name, parameter in equations.trained(model).items()},
    }
    torch.save(result, f"{out}{rank}.pt")


def on_two_ranks(run_ranks, *arguments, out):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    run_ranks(rank_main, port, *arguments, out)
    return [torch.load(f"{out}{rank}.pt", weights_only=True) for rank in (0, 1)]


def scales(model, terms, pictures):
    """Balance the terms: by gradient norms at each rank's own pictures, means over the ranks."""
    norms = []
    for name in model.balance.terms:
        norms.append(0.0)
        for own in pictures:
            found = torch.autograd.grad(terms[name], own, retain_graph=True, materialize_grads=True)
            # A rank's mean is over half of the pictures; the mean over the ranks halves again.
            norms[-1] += float(torch.cat(found).norm())
    return {name: norms[0] / norm for name, norm in zip(model.balance.terms, norms, strict=True)}


@pytest.mark.slow
def test_a_step_on_two_ranks_is_that_of_the_equations_over_the_joined_batch(build, equations, tmp_path, run_ranks):
    clast, rate = build(prototype_shrinkage=4.0, mixture_fraction=0.5, noise=True), 1e-3
    clast.make_optimizer = partial(torch.optim.SGD, lr=rate)
    data = equations.batch(artists=(0, 1, 0, 1))
    one, other = on_two_ranks(run_ranks, equations, clast, data, out=str(tmp_path / "rank"))
    assert all(torch.equal(weights, other["after"][name]) for name, weights in one["after"].items())
    assert not torch.equal(one["draws"]["warps"], other["draws"]["warps"]), "both ranks drew the same"

    draws = together(equations, one["draws"], other["draws"])
    draws = equations.conditioned(clast, data, draws, torch.cat([one["codes"], other["codes"]]))
    terms, painted, again = equations.literal_terms(clast, data, draws)
    for name, term in terms.items():
        mean = (one["terms"][name] + other["terms"][name]) / 2
        assert float(mean) == pytest.approx(float(term.detach()), rel=1e-9), name
    scale = scales(clast, terms, [[*painted[:HALF], *again[:1]], [*painted[HALF:], *again[1:]]])
    total = sum(getattr(equations.weights, name) * scale.get(name, 1.0) * term for name, term in terms.items())
    start = equations.trained(clast)
    expected, halves = equations.gradients(clast, total), (slice(0, HALF), slice(HALF, 2 * HALF))
    critic = [
        equations.gradients(clast, equations.literal_critic(clast, half(data, rank), split(draws, part), painted[part]))
        for rank, part in enumerate(halves)
    ]
    for name in [name for name in expected if name.startswith("critic.")]:
        expected[name] = (critic[0][name] + critic[1][name]) / 2
    rates = {name: equations.critic_rate if name.startswith("critic.") else rate for name in expected}
    stepped = {name: (start[name] - after).detach() / rates[name] for name, after in one["after"].items()}
    equations.check_equal(stepped, expected, "the step", rel=1e-5)  # measured in float32
