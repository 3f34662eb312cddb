"""The MLP that merges the branches."""

import torch

from lightning_modules.classifiers.stylistic.networks import Head


def test_no_branch_outweighs_the_other_by_its_scale():
    torch.manual_seed(0)
    head = Head((4, 6), hidden=(8,)).eval()
    rows = torch.randn(3, 10)
    louder = torch.cat((100 * rows[:, :4], rows[:, 4:] - 5), dim=1)
    assert torch.allclose(head(rows), head(louder), atol=1e-4)
    assert head(rows).shape == (3,)


def test_sizes_are_those_of_the_configuration():
    head = Head((768, 256), hidden=(256,))
    assert sum(parameter.numel() for parameter in head.parameters()) == 1024 * 256 + 256 + 256 + 1
    assert sum(parameter.numel() for parameter in Head((3, 2), hidden=()).parameters()) == 6
