import math

import pytest

from experiments.report.marks import direction, marks, ranking
from experiments.report.records import Measurement


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/deception_embedded", "higher"),
        ("val/deception_ceiling_embedded", "none"),
        ("val/deception_floor_hed", "none"),
        ("val/style_loss", "lower"),
        ("val/ssim_truth", "higher"),
        ("val/region_ssim_truth", "higher"),
        ("val/region_lpips_truth_embedded", "lower"),
        ("val/accuracy_top5", "higher"),
        ("test/clip_style_embedded", "higher"),
        ("sifid", "lower"),
        ("ssim", "higher"),
    ],
)
def test_direction(name, expected):
    assert direction(name) == expected


@pytest.mark.parametrize(("name", "expected"), [("halo", "none"), ("val/halo", "none"), ("val/sifid", "lower")])
def test_the_least_halo_is_not_the_best(name, expected):
    assert direction(name) == "lower"
    assert ranking(name, "lower") == expected


def between(mean, low, high):
    return Measurement(mean, low, high)


@pytest.mark.parametrize(
    ("column", "better", "expected"),
    [
        ([between(1, 0.9, 1.1), between(2, 1.9, 2.1)], "lower", ["best", ""]),
        ([between(1, 0.9, 1.1), between(2, 1.9, 2.1)], "higher", ["", "best"]),
        ([between(1, 0.9, 1.1), between(1.2, 1.05, 1.3), between(2, 1.9, 2.1)], "lower", ["tied", "tied", ""]),
        ([between(1, 0.9, 1.1), Measurement(2.0)], "lower", ["leading", ""]),
        ([Measurement(1.0), Measurement(1.0), Measurement(2.0)], "lower", ["leading", "leading", ""]),
        ([Measurement(1.0), None], "lower", ["", ""]),
        ([Measurement(math.nan), Measurement(1.0), Measurement(2.0)], "lower", ["", "leading", ""]),
        ([Measurement(1.0), Measurement(2.0)], "none", ["", ""]),
    ],
)
def test_a_winner_needs_an_interval_of_its_own(column, better, expected):
    assert marks(column, better) == expected
