"""The loop around an iteration where there is no Trainer, and what both ask after each."""

from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_modules.least.fitting import Fitting
from lightning_modules.least.jobs import Order
from lightning_modules.least.networks import StyleUNet
from lightning_modules.least.progress import Plateau
from lightning_modules.types import Watcher


def fit(
    fitting: Fitting,
    network: StyleUNet,
    optimizer: torch.optim.Optimizer,
    order: Order,
    controls: Mapping[str, Any],
    watcher: Watcher | None = None,
    clip: float | None = None,
) -> list[Tensor]:
    """Fit fresh networks to jobs.

    Args:
        fitting: How.
        network: As many networks as there are jobs.
        optimizer: Theirs.
        order: The jobs.
        controls: ``iterations`` and ``patience``.
        watcher: Who wants to know how it goes.
        clip: Largest norm of one job's gradients; None leaves them alone.

    Returns:
        Every job's picture, ``(3, H, W)``, RGB in [0, 1].

    Raises:
        ImpastoError: If a mask is empty.
    """
    jobs, plateau = fitting.prepare(order), Plateau(len(order)).to(order.content)
    network.start([order.seed] * len(order))
    paintings: dict[int, Tensor] = {}
    for iteration in range(controls["iterations"]):
        fitting.set_rate(optimizer, iteration)
        terms = fitting.terms(network, jobs, iteration)
        total = fitting.total(terms)
        optimizer.zero_grad()
        total.sum().backward()
        if clip is not None:
            network.clip_gradients(clip)
        optimizer.step()
        if watcher is not None:
            watcher(iteration, controls["iterations"], {name: term.detach() for name, term in terms.items()})
        for job in ended(plateau, total, iteration, controls, paintings):
            paintings[job] = fitting.painting(network, jobs, job)
        if len(paintings) == len(order):
            break
    return [paintings[job] for job in range(len(order))]


def ended(
    plateau: Plateau, total: Tensor, iteration: int, controls: Mapping[str, Any], known: Container[int]
) -> list[int]:
    """Return the jobs that end with an iteration.

    Args:
        plateau: Has seen the iterations before.
        total: Loss of every job, ``(N,)``.
        iteration: Of these jobs, from 0.
        controls: ``iterations`` and ``patience``.
        known: Jobs that ended before.
    """
    ends = [iteration + 1 >= controls["iterations"]] * len(total)
    if controls["patience"]:  # else nobody has to wait for a value of the device
        still = plateau.update(total.detach(), controls["patience"]).tolist()
        ends = [last or stands for last, stands in zip(ends, still, strict=True)]
    return [job for job, over in enumerate(ends) if over and job not in known]
