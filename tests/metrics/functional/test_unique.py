import pytest
import torch

from metrics.functional import unique
from metrics.functional.unique import distinct_rows


def rows(seed, n, d=16):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("block", [1, 7, 2**23])
def test_the_first_of_equals_stays(monkeypatch, block):
    monkeypatch.setattr(unique, "BLOCK", block)
    a = rows(0, 9)
    picked = torch.tensor([3, 3, 1, 0, 1, 8, 3])
    noisy = a[picked] * (1 + 1e-6 * rows(1, 7))  # as another batch size would round
    assert distinct_rows(noisy).tolist() == [True, False, True, True, False, True, False]
    assert distinct_rows(a).all()


def test_close_is_not_equal():
    a = rows(0, 2)
    assert distinct_rows(torch.cat([a, a * (1 + 1e-3)])).all()
    assert distinct_rows(torch.cat([a, -a])).all()


def test_zeros_are_one_row():
    assert distinct_rows(torch.zeros(3, 4)).tolist() == [True, False, False]
    assert distinct_rows(torch.zeros(0, 4)).tolist() == []
