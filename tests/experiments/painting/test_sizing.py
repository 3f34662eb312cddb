import pytest
import torch

from experiments.painting.sizing import Sizing


@pytest.mark.parametrize(
    ("size", "max_side", "content", "expected"),
    [
        (None, None, (101, 60), (101, 60)),
        (None, 50, (101, 60), (50, 30)),
        (None, 200, (101, 60), (101, 60)),
        (120, None, (101, 60), (202, 120)),  # a smaller picture grows
        (30, None, (101, 60), (50, 30)),
        (120, 100, (200, 60), (100, 30)),  # the longer side has the last word
        (60, None, (101, 60), (101, 60)),
        (1, None, (1000, 2), (500, 1)),
        (None, 1, (1000, 2), (1, 1)),
    ],
)
def test_the_shorter_side_is_set_and_the_longer_one_limited(size, max_side, content, expected):
    assert Sizing(size, max_side).of(content) == expected
    assert Sizing(size, max_side).fit(torch.rand(3, *content)).shape == (3, *expected)


def test_clips_become_even_where_their_size_changes():
    assert Sizing(None, 51).of((101, 61), even=True) == (50, 30)
    assert Sizing().of((101, 61), even=True) == (101, 61)
    assert Sizing(1).of((400, 3), even=True) == (132, 2)
