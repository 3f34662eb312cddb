import sys

import pytest
import torch

from benchmarks.scale import BBST, Assumed, Counter, Step, bbst_table, cost, learners, main, training_table
from benchmarks.without_values import META

EASY = Assumed(peak=100e12, achieved=0.5, launch=1e-5, link=100e9, network=1e9)


def step(**changed):
    return Step("a", batch=16, most=16, tflop=50.0, operations=1000, trained=10.0, steps=3600)._replace(**changed)


def test_what_is_counted_is_a_products_flops_forward_and_backward():
    counter = Counter()
    one, other = (torch.zeros(10, 20, device=META, requires_grad=True), torch.zeros(20, 30, device=META))
    with counter:
        (one @ other).sum().backward()
    assert counter.tflop * 1e12 == 2 * 2 * 10 * 20 * 30  # the other needs no gradient
    assert counter.operations >= 3


@pytest.mark.parametrize(
    ("changed", "gpus", "used", "seconds", "bound"),
    [
        ({}, 1, 1, 1.0, "FLOPs"),
        ({}, 8, 8, 1 / 8 + 2 * 7 / 8 * 40e6 / 100e9, "FLOPs"),
        ({"most": 4}, 32, 4, 1 / 4 + 2 * 3 / 4 * 40e6 / 100e9, "FLOPs"),
        ({"batch": 6, "most": 6}, 4, 3, 1 / 3 + 2 * 2 / 3 * 40e6 / 100e9, "FLOPs"),  # 4 do not divide it
        ({"operations": 200_000}, 1, 1, 2.0, "launches"),
        ({"trained": 1000.0}, 16, 16, 1 / 16 + 2 * 15 / 16 * 4e9 / 1e9, "network"),
    ],
)
def test_a_step_waits_for_the_slowest(changed, gpus, used, seconds, bound):
    found = cost(step(**changed), gpus, EASY)
    assert (found.used, found.bound) == (used, bound)
    assert found.seconds == pytest.approx(seconds)


def test_the_tables_are_arithmetic_on_the_counts():
    assert (
        training_table([step()], EASY)
        .splitlines()[-1]
        .startswith("| a | 16 | 50.0 | 1000 | 10.00 | 3600 | 1.0 (1, FLOPs) | 0.1 (8, FLOPs)")
    )
    pictures = {"read 1536x1024 to short side 512": 10.0, "read, shrink, write": 20.0}
    text = bbst_table(0.01, pictures, Assumed(alive=1.0, cores=10))
    assert f"| shrink and store, 10 cores | {BBST * 20 / 3.6e6 / 10:.1f} h |" in text


def test_experiments_that_learn_by_artists_are_counted():
    assert {"artist", "clast", "contraast", "neat"} <= set(learners())
    assert not {"least", "nsync", "stylistic"} & set(learners())


def test_nsyncs_full_step_is_counted(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scale", "--methods", "nsync", "--achieved", "0.5"])
    main()
    said = capsys.readouterr().out
    assert "| nsync | 2 | 13.7 |" in said
    assert "DINOv2 ViT-S, 224 pixels: 12.2 GFLOP a picture" in said
