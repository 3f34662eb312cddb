import pytest
import torch

from lightning_modules.errors import ImpastoError
from metrics.functional.pictures import as_pictures


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(3, 8, 8), r"\(B, 3, H, W\)"),
        (torch.zeros(1, 1, 8, 8), r"\(B, 3, H, W\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "float in"),
        (torch.full((1, 3, 8, 8), 1.5), r"\[0, 1\]"),
        (torch.full((1, 3, 8, 8), -1.0), r"\[0, 1\]"),
        (torch.full((1, 3, 8, 8), torch.nan), "nan"),
        (torch.zeros(1, 3, 8, 3), "at least 4"),
    ],
)
def test_bad_pictures_are_refused_in_one_sentence(images, words):
    with pytest.raises(ImpastoError, match=words) as caught:
        as_pictures(images, "stylized", smallest=4)
    assert "\n" not in str(caught.value)


def test_the_type_says_the_range():
    grey = torch.full((1, 3, 8, 8), 51, dtype=torch.uint8)
    assert torch.equal(as_pictures(grey, "content"), torch.full((1, 3, 8, 8), 0.2))
    half = torch.full((1, 3, 8, 8), 0.25, dtype=torch.bfloat16)
    assert torch.equal(as_pictures(half, "content"), torch.full((1, 3, 8, 8), 0.25))


def test_rounding_beyond_one_is_clamped_and_more_is_refused():
    for value, clamped in ((1.0000001, 1), (1.0009, 1), (-0.0009, 0)):
        assert as_pictures(torch.full((1, 3, 8, 8), value), "content").unique().tolist() == [clamped]
    for value in (1.002, -0.002):
        with pytest.raises(ImpastoError, match=r"\[0, 1\]"):
            as_pictures(torch.full((1, 3, 8, 8), value), "content")
