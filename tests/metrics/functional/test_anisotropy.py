import math

import pytest
import torch
from torch.nn import functional as F

from metrics.functional.anisotropy import anisotropy, relative_anisotropy


def noise(count=8, seed=0):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def rows(count=8, seed=0):
    """Noise that is smeared along the rows, as the streaks of a scan are."""
    return F.avg_pool2d(noise(count, seed), (1, 15), 1, (0, 7), count_include_pad=False)


def test_streaks_along_rows_are_negative_and_along_columns_positive():
    assert float(anisotropy(rows()).max()) < -1.5
    assert float(anisotropy(rows().transpose(2, 3)).min()) > 1.5
    assert float(anisotropy(noise()).abs().max()) < 0.1
    torch.testing.assert_close(anisotropy(rows()), -anisotropy(rows().transpose(2, 3)))


def test_it_is_the_logarithm_of_the_ratio_of_energies():
    picture = noise(1)
    along_rows = along_columns = 0.0
    for channel in picture[0].double().tolist():
        for y, x in ((y, x) for y in range(64) for x in range(64)):
            along_rows += (channel[y][x] - channel[y][x - 1]) ** 2 if x else 0.0
            along_columns += (channel[y][x] - channel[y - 1][x]) ** 2 if y else 0.0
    assert float(anisotropy(picture)) == pytest.approx(math.log(along_rows / along_columns), abs=1e-6)


def test_one_colour_has_no_direction_and_bytes_are_pictures():
    assert anisotropy(torch.full((2, 3, 8, 8), 0.3)).tolist() == [0, 0]
    picture = (rows() * 255).round().byte()
    torch.testing.assert_close(anisotropy(picture), anisotropy(picture.float() / 255))


def test_a_painter_may_have_a_direction_of_his_own():
    assert float(relative_anisotropy(rows(seed=1), rows(seed=2))) < 1.1
    assert float(relative_anisotropy(rows(), noise())) > 4
    assert float(relative_anisotropy(noise(), rows())) > 4
    there = float(relative_anisotropy(rows(), noise()))
    assert there == pytest.approx(math.exp(-float(anisotropy(rows()).mean() - anisotropy(noise()).mean())))
