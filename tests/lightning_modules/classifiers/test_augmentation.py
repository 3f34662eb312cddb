import pytest
import torch

from lightning_modules.classifiers.augmentation import degrade, jitter_colours, shuffle_colours


def pictures(count=64):
    return torch.rand(count, 3, 24, 20, generator=torch.Generator().manual_seed(3))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


CHANGES = {
    "jitter": lambda images, generator: jitter_colours(images, 0.25, generator),
    "shuffle": lambda images, generator: shuffle_colours(images, 0.2, generator),
    "degrade": degrade,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_shape_range_and_seed(change):
    images = pictures()
    before = images.clone()
    changed = change(images, seeded())
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert torch.equal(images, before)
    assert torch.equal(changed, change(images, seeded()))
    assert not torch.equal(changed, change(images, seeded(1)))


def test_no_strength_changes_nothing():
    assert torch.allclose(jitter_colours(pictures(), 0.0, seeded()), pictures(), atol=1e-6)
    assert torch.equal(shuffle_colours(pictures(), 0.0, seeded()), pictures())


def test_the_shares_of_grey_and_permuted_pictures():
    images = pictures(2000)
    changed = shuffle_colours(images, 0.2, seeded())
    grey = (changed[:, 0] == changed[:, 1]).flatten(1).all(1) & (changed[:, 1] == changed[:, 2]).flatten(1).all(1)
    kept = (changed == images).flatten(1).all(1)
    assert float(grey.float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float((~grey & ~kept).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert torch.allclose(changed[~grey].sum(1), images[~grey].sum(1), atol=1e-6)  # the same channels in another order


def test_a_part_of_the_pictures_stays_sound():
    images = pictures(2000)
    touched = (degrade(images, seeded()) != images).flatten(1).any(1)
    assert float(touched.float().mean()) == pytest.approx(0.52, abs=0.04)  # 0.2 blurred, 0.2 noisy, 0.12 compressed
