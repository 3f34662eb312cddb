import pytest
import torch

from lightning_modules.errors import ImpastoError
from metrics.functional.way import share_of_way


def test_it_is_the_place_of_the_foot():
    generator = torch.Generator().manual_seed(0)
    origin, goal, aside = torch.randn(3, 5, 7, generator=generator).double()
    way = goal - origin
    aside = aside - (aside * way).sum(1, keepdim=True) / way.square().sum(1, keepdim=True) * way
    shares = torch.tensor([-0.5, 0.0, 0.4, 1.0, 1.7]).double()
    found = share_of_way(origin + shares[:, None] * way + 3 * aside, origin, goal)
    torch.testing.assert_close(found, shares)


def test_without_a_way_there_is_no_place():
    same = torch.ones(2, 3)
    assert bool(share_of_way(torch.rand(2, 3), same, same).isnan().all())


def test_what_cannot_be_compared_is_one_sentence():
    with pytest.raises(ImpastoError, match=r"must be \(B, D\) on all sides"):
        share_of_way(torch.ones(2, 3), torch.ones(1, 3), torch.ones(2, 3))
    with pytest.raises(ImpastoError, match="nan or infinite"):
        share_of_way(torch.full((1, 3), torch.nan), torch.ones(1, 3), torch.zeros(1, 3))
