"""The MLP that merges the branches."""

import torch

from lightning_modules.classifiers.stylistic.networks import Head


def test_no_feature_outweighs_the_others_by_its_scale():
    torch.manual_seed(0)
    head, scale = Head((4, 6), hidden=(8,), dropout=0.0), torch.logspace(-2, 2, 10)
    rows = torch.randn(32, 10)
    assert torch.allclose(head(rows), head(scale * rows - 5), atol=0.1)
    assert head(rows).shape == (32,)


def test_a_row_is_judged_for_itself_once_trained():
    torch.manual_seed(0)
    head, rows = Head((4, 6), hidden=(8,)), torch.randn(8, 10)
    head(rows)
    head.eval()
    assert torch.allclose(head(rows)[:2], head(rows[:2]), atol=1e-6)


def test_sizes_are_those_of_the_configuration():
    head = Head((768, 256), hidden=(256,))
    assert sum(parameter.numel() for parameter in head.parameters()) == 1024 * 256 + 256 + 256 + 1
    assert sum(parameter.numel() for parameter in Head((3, 2), hidden=()).parameters()) == 6
