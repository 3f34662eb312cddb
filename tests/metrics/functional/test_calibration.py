"""Calibration against slow loops, torchmetrics and a fit by gradient descent."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from metrics.functional.calibration import balanced, expected_calibration_error, platt_scaling, reliability


@pytest.fixture
def judged():
    torch.manual_seed(0)
    logits = 3 * torch.randn(400, dtype=torch.float64) + 1
    return logits, torch.bernoulli(torch.sigmoid(0.4 * logits - 0.7))


def test_the_error_is_that_of_torchmetrics(judged):
    logits, labels = judged
    ours = expected_calibration_error(torch.sigmoid(logits), labels, bins=15)
    theirs = binary_calibration_error(torch.sigmoid(logits), labels.long(), n_bins=15, norm="l1")
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)


def test_bins_against_a_loop(judged):
    logits, labels = judged
    probabilities, weights = torch.sigmoid(logits), balanced(labels)
    table = reliability(probabilities, labels, bins=5, weights=weights)
    for place in range(5):
        inside = [i for i, p in enumerate(probabilities.tolist()) if place <= 5 * p < place + 1]
        mass = sum(float(weights[i]) for i in inside)
        assert float(table.mass[place]) == pytest.approx(mass)
        assert float(table.found[place]) == pytest.approx(sum(float(weights[i] * labels[i]) for i in inside) / mass)


def test_an_empty_bin_counts_nothing():
    table = reliability(torch.tensor([0.05, 1.0]), torch.tensor([0, 1]))
    assert table.found[[0, 9]].tolist() == [0.0, 1.0]
    assert bool(table.found[1:9].isnan().all())
    assert float(expected_calibration_error(torch.tensor([0.05, 1.0]), torch.tensor([0, 1]))) == pytest.approx(0.025)


def test_kinds_count_alike_however_many_there_are():
    assert balanced(torch.tensor([1, 0, 0, 0, 0])).tolist() == [0.5, 0.125, 0.125, 0.125, 0.125]
    assert balanced(torch.tensor([1, 1])).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("weighted", [False, True])
def test_scaling_is_the_best_there_is(judged, weighted):
    logits, labels = judged
    weights = balanced(labels) if weighted else torch.ones_like(logits)
    temperature, bias = platt_scaling(logits, labels, weights if weighted else None)
    ones, zeros = float(labels.sum()), float((1 - labels).sum())
    targets = np.where(labels.numpy() > 0.5, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(slope, shift):
        z = slope * logits.numpy() + shift
        return float((weights.numpy() * (np.logaddexp(0, z) - targets * z)).sum())

    best = loss(1 / temperature, bias)
    for step in (1e-3, -1e-3):
        assert best < loss(1 / temperature + step, bias)
        assert best < loss(1 / temperature, bias + step)
    if not weighted:
        assert 1 / temperature == pytest.approx(0.4, abs=0.1)
        assert bias == pytest.approx(-0.7, abs=0.3)


def test_separated_kinds_do_not_make_everything_certain():
    logits = torch.cat((torch.linspace(1, 2, 20), torch.linspace(-2, -1, 20)))
    labels = torch.cat((torch.ones(20), torch.zeros(20)))
    temperature, bias = platt_scaling(logits, labels)
    certain = torch.sigmoid(logits / temperature + bias)
    assert float(certain[:20].min()) > 0.8
    assert float(certain.max()) < 0.999
    assert bias == pytest.approx(0, abs=1e-6)


def test_logits_that_say_the_opposite_are_not_turned_round():
    temperature, _ = platt_scaling(torch.tensor([-1.0, 1.0]), torch.tensor([1, 0]))
    assert temperature == pytest.approx(20, rel=1e-3)
