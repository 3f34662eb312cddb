import pytest
import torch
import torch.nn.functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.losses.euclidean import euclidean
from lightning_modules.losses.shared_attribute import arrange_pairs, shared_attribute_loss


@pytest.mark.parametrize("half", [2, 3, 4, 8])
def test_every_picture_has_one_partner_of_its_style_and_one_of_its_content(half):
    contents, styles = arrange_pairs(half)
    same_style, same_content = styles[:, None] == styles, contents[:, None] == contents
    eye = torch.eye(2 * half, dtype=torch.bool)
    assert ((same_style & ~eye).sum(1) == 1).all()
    assert ((same_content & ~eye).sum(1) == 1).all()
    assert not (same_style & same_content & ~eye).any()
    assert ((~same_style & ~same_content).sum(1) == 2 * half - 3).all()


def test_a_single_content_is_refused():
    with pytest.raises(ImpastoError, match="at least 2"):
        arrange_pairs(1)


def test_the_order_of_the_pictures_does_not_matter():
    contents, styles = arrange_pairs(4)
    z = F.normalize(torch.randn(8, 5, dtype=torch.float64), dim=1)
    order = torch.randperm(8)
    loss = shared_attribute_loss(z, styles, contents)
    assert float(loss) == pytest.approx(float(shared_attribute_loss(z[order], styles[order], contents[order])))


def test_it_pulls_partners_together_and_pushes_strangers_away():
    contents, styles = arrange_pairs(3)
    z = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: shared_attribute_loss(F.normalize(v, dim=1), styles, contents), z)
    gathered = F.one_hot(styles, 3).double()
    scattered = F.one_hot(contents, 3).double()
    assert shared_attribute_loss(gathered, styles, contents) < shared_attribute_loss(scattered, styles, contents)


def test_the_mean_is_the_sum_over_the_batch():
    contents, styles = arrange_pairs(3)
    z = F.normalize(torch.randn(6, 4), dim=1)
    total = shared_attribute_loss(z, styles, contents)
    assert float(total) == pytest.approx(6 * float(shared_attribute_loss(z, styles, contents, reduction="mean")))


def test_the_norm_of_nothing_has_no_gradient():
    a = torch.zeros(2, 3, requires_grad=True)
    euclidean(a, torch.zeros(2, 3)).backward()
    assert torch.equal(a.grad, torch.zeros(2, 3))
