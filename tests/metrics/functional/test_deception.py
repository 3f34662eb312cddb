import pytest
import torch

from lightning_modules.errors import ImpastoError
from metrics.functional.deception import deceives


def logits_of(rows=200, artists=6):
    return torch.randn(rows, artists, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("top", [1, 3])
def test_the_artist_must_be_among_the_first_and_above_none_of_them(top):
    logits, labels = logits_of(artists=7), torch.arange(200) % 6
    expected = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        *named, nobody = row
        expected.append(float(sorted(named, reverse=True).index(named[label]) < top and named[label] > nobody))
    found = deceives(logits, labels, top, none=True)
    assert found.tolist() == expected
    assert 0 < sum(expected) < float(deceives(logits[:, :6], labels, top).sum())


def test_a_tie_with_none_of_them_names_nobody():
    assert deceives(torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([0]), none=True).tolist() == [0]
    assert deceives(torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([0])).tolist() == [1]


def test_none_of_them_is_no_label():
    with pytest.raises(ImpastoError, match="numbers of the 2 classes"):
        deceives(torch.zeros(1, 3), torch.tensor([2]), none=True)
    assert bool(deceives(torch.zeros(1, 3), torch.tensor([-1]), none=True).isnan().all())
