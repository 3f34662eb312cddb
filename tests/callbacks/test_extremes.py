"""The best and worst samples: chosen over batches and ranks, shrunk, captioned."""

import pytest
import torch

from callbacks.extremes import Extremes, captioned
from lightning_modules.types import Stylization

VALUES = torch.tensor([0.5, 0.1, torch.nan, 0.9, 0.3, 0.7, 0.2], dtype=torch.float64)


def outputs(indices, side=20):
    grey = (torch.as_tensor(indices) / 10).view(-1, 1, 1, 1).expand(-1, 3, side, side + 10)
    return Stylization(
        content=grey,
        style=grey,
        stylized=grey,
        artist=torch.as_tensor(indices) % 2,
        prompt=[f"Artist {index}" for index in indices],
        index=torch.as_tensor(indices),
    )


@pytest.mark.parametrize("batches", [[range(7)], [[6, 5], [4, 3, 2], [1, 0]], [[0, 1, 2, 3], [3, 4, 5, 6, 0]]])
def test_ends_over_any_batches(batches):
    extremes = Extremes(2, 15)
    for batch in batches:
        extremes.add(outputs(list(batch)), {"gap": VALUES[list(batch)], "none": torch.full((len(batch),), torch.nan)})
    cases = extremes.gather()
    assert [case.value for case in cases["gap"]] == [0.1, 0.2, 0.7, 0.9]
    assert [case.sample.prompt for case in cases["gap"]] == ["Artist 1", "Artist 6", "Artist 5", "Artist 3"]
    assert cases["none"] == []
    assert set(extremes._samples) == {1, 6, 5, 3}  # no more than is shown
    picture = cases["gap"][0].sample.pictures["stylized"]
    assert picture.shape == (3, 10, 15)
    assert picture.unique().tolist() == [26]


def test_captions_say_which_end():
    extremes = Extremes(1, 64)
    extremes.add(outputs([0, 1, 3]), {"gap": VALUES[[0, 1, 3]]})
    cases = extremes.gather()["gap"]
    assert [s.prompt for s in captioned(cases, higher_is_better=False)] == [
        "worst, 0.9: Artist 3",
        "best, 0.1: Artist 1",
    ]
    assert [s.prompt for s in captioned(cases, higher_is_better=True)] == [
        "worst, 0.1: Artist 1",
        "best, 0.9: Artist 3",
    ]
    assert cases[0].sample.pictures["content"].shape == (3, 20, 30)
