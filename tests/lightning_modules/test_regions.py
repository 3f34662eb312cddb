"""The sense of a mask, from `stylize` to what a method sees: 1 paints, 0 leaves the content as it is."""

import pytest
import torch

from lightning_modules.base import StyleTransferModule
from lightning_modules.types import StyleBatch

WHITE, GREY = 1.0, 0.5


class Whitewash(StyleTransferModule):
    """Paints everything white; ``heeds`` paints where the mask is, and grey elsewhere."""

    conditions = frozenset({"text", "region"})

    def __init__(self, *, heeds):
        super().__init__()
        self.heeds = heeds
        self.seen = None

    def _render(self, content, manner):
        self.seen = manner.mask
        if not self.heeds or manner.mask is None:
            return torch.full_like(content, WHITE)
        return GREY + (WHITE - GREY) * manner.mask.expand_as(content)

    def training_step(self, batch, batch_idx):
        raise NotImplementedError


@pytest.fixture
def content():
    return 0.4 * torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def left():
    """Return a mask of the left third."""
    mask = torch.zeros(2, 1, 20, 24)
    mask[..., :8] = 1
    return mask


@pytest.mark.parametrize("heeds", [False, True])
def test_what_the_mask_marks_is_painted_and_the_rest_comes_back(content, left, heeds):
    painted = Whitewash(heeds=heeds).stylize(content, prompt="x", mask=left)
    assert (painted[..., :8] == WHITE).all()
    assert torch.equal(painted[..., 8:], content[..., 8:])


def test_a_method_sees_the_mask_where_it_sees_the_content(content, left):
    method = Whitewash(heeds=True)
    method.stylize(content, prompt="x", mask=left[:1].bool())
    assert method.seen.shape == (2, 1, 32, 32)
    assert method.seen.dtype == content.dtype
    assert torch.equal(method.seen[..., :20, :24], left)


def test_a_soft_mask_reaches_the_method_as_it_is(content, left):
    soft = 0.25 * left
    method = Whitewash(heeds=True)
    painted = method.stylize(content, prompt="x", mask=soft)
    assert torch.equal(method.seen[..., :20, :24], soft)
    assert torch.allclose(painted[..., :8], torch.tensor(GREY + 0.25 * (WHITE - GREY)))


def test_validation_paints_the_region_of_the_batch(content, left):
    batch = StyleBatch(content, content, torch.arange(2), ["a", "b"], torch.arange(2), mask=left)
    output = Whitewash(heeds=False).validation_step(batch, 0)
    assert output["mask"] is left
    assert (output["stylized"][..., :8] == WHITE).all()
    assert torch.equal(output["stylized"][..., 8:], content[..., 8:])
    assert (Whitewash(heeds=False).validation_step(batch._replace(mask=None), 0)["stylized"] == WHITE).all()
