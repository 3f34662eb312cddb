import pytest
import torch
import torch.nn.functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.losses.euclidean import euclidean
from lightning_modules.losses.shared_attribute import Crops, arrange_pairs, shared_attribute_loss


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


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def one_by_one(z, styles, contents, crops, temperature):
    """Every anchor's losses, one for each positive, pair by pair."""
    anchors, true = list(zip(z, styles.tolist(), contents.tolist(), strict=True)), list(zip(*crops, strict=True))

    def alike(one, other):
        return torch.exp(one @ other / temperature)

    losses = []
    for i, (anchor, style, content) in enumerate(anchors):
        rest = [other for j, other in enumerate(anchors) if j != i]
        positives = [alike(anchor, v) for v, s, c in rest if s == style and c != content]
        positives += [alike(anchor, v) for v, s in true if int(s) == style]
        negatives = [alike(anchor, v) for v, s, c in rest if s != style and c != content]
        negatives += [alike(anchor, v) for v, s in true if int(s) != style]
        losses.append([-torch.log(one / (one + sum(negatives))) for one in positives])
    return losses


@pytest.mark.parametrize(("half", "whose"), [(2, [0, 0, 1, 1]), (3, [2, 0, 1, 1, 0, 2]), (3, [1, 0, 0])])
def test_crops_are_positives_and_negatives_and_no_anchors(half, whose):
    contents, styles = arrange_pairs(half)
    z, v = unit(2 * half, 5).requires_grad_(), unit(len(whose), 5, seed=1).requires_grad_()
    crops = Crops(v, torch.tensor(whose))
    losses = one_by_one(z, styles, contents, crops, 0.3)
    assert [len(each) for each in losses] == [1 + whose.count(style) for style in styles.tolist()]
    expected = torch.stack([torch.stack(each).mean() for each in losses])
    for reduction, value in (("sum", expected.sum()), ("mean", expected.mean())):
        found = shared_attribute_loss(z, styles, contents, crops=crops, temperature=0.3, reduction=reduction)
        assert float(found) == pytest.approx(float(value), rel=1e-12)
        gradients = [torch.autograd.grad(loss, (z, v), retain_graph=True) for loss in (found, value)]
        for one, other in zip(*gradients, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_without_crops_there_is_one_positive_each():
    contents, styles = arrange_pairs(3)
    z, nothing = unit(6, 5), Crops(torch.zeros(0, 5, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
    losses = one_by_one(z, styles, contents, nothing, 0.2)
    assert {len(each) for each in losses} == {1}
    found = shared_attribute_loss(z, styles, contents)
    assert float(found) == pytest.approx(float(sum(each[0] for each in losses)), rel=1e-12)
    assert float(shared_attribute_loss(z, styles, contents, crops=nothing)) == pytest.approx(float(found), rel=1e-12)


def test_crops_of_half_precision_do_not_lower_that_of_the_loss():
    contents, styles = arrange_pairs(2)
    z, v = unit(4, 5).float(), unit(4, 5, seed=1).bfloat16()
    crops = Crops(v, torch.tensor([0, 0, 1, 1]))
    expected = shared_attribute_loss(z, styles, contents, crops=Crops(v.float(), crops.style))
    with torch.autocast("cpu", torch.bfloat16):
        found = shared_attribute_loss(z, styles, contents, crops=crops)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_the_norm_of_nothing_has_no_gradient():
    a = torch.zeros(2, 3, requires_grad=True)
    euclidean(a, torch.zeros(2, 3)).backward()
    assert torch.equal(a.grad, torch.zeros(2, 3))
