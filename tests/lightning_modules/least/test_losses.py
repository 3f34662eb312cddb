import itertools
import math

import pytest
import torch

from lightning_modules.least.losses import feature_distance, over_patches, rough_norms
from lightning_modules.least.settings import Schedule
from lightning_modules.least.templates import IMAGENET, SETS


def maps(seed, batch=2):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (3, 4, 4), "b": (5, 2, 2)}
    return {
        name: torch.randn(batch, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


@pytest.mark.parametrize("distance", ["mse", "norm"])
def test_the_distance_of_features_against_the_slow_formula(distance):
    one, other = maps(0), maps(1)
    value = feature_distance(one, other, distance)
    for sample in range(2):
        expected = 0.0
        for name in one:
            squares = [float(x) ** 2 for x in (one[name][sample] - other[name][sample]).flatten()]
            expected += math.sqrt(sum(squares)) if distance == "norm" else sum(squares) / len(squares)
        assert abs(float(value[sample]) - expected) < 1e-12


@pytest.mark.parametrize("distance", ["mse", "norm"])
def test_where_the_mask_is_empty_features_are_free(distance):
    one, other = maps(0), maps(0)
    for name, side in (("a", 4), ("b", 2)):
        other[name][..., : side // 2] += 7.0
    mask = torch.ones(2, 1, 8, 8, dtype=torch.float64)
    mask[..., :4] = 0
    assert float(feature_distance(one, other, distance, mask).abs().max()) < 1e-10
    assert float(feature_distance(one, other, distance, 1 - mask)[0]) > 7
    whole = feature_distance(one, other, distance, torch.ones_like(mask))
    assert torch.allclose(whole, feature_distance(one, other, distance))


def test_roughness_against_the_slow_formula():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value = rough_norms(images)
    for sample in range(2):
        picture, expected = images[sample].permute(1, 2, 0), 0.0
        for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
            pairs = [((y, x), (y + down, x + across)) for y, x in itertools.product(range(4 - down), range(5))]
            steps = [picture[end] - picture[start] for start, end in pairs if 0 <= end[1] < 5]
            expected += math.sqrt(sum(float(step.square().sum()) for step in steps))
        assert abs(float(value[sample]) - expected) < 1e-12


@pytest.mark.parametrize("term", [rough_norms, lambda x: feature_distance({"a": x}, {"a": x.detach()}, "norm")])
def test_gradients_are_finite_where_there_is_nothing(term):
    flat = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64, requires_grad=True)
    term(flat).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_patches_are_summed_or_averaged():
    losses = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    assert over_patches(losses, "sum").tolist() == [9.0, 3.0]
    assert over_patches(losses, "mean").tolist() == [3.0, 1.0]


def test_the_schedule_steps_where_the_public_code_does():
    schedule = Schedule()
    rates = {number: 5e-4 * schedule.share(number) for number in (0, 98, 99, 198, 199)}
    assert rates == {0: 5e-4, 98: 5e-4, 99: 2.5e-4, 198: 2.5e-4, 199: 1.25e-4}


def test_there_are_79_templates():
    assert len(IMAGENET) == len(set(IMAGENET)) == 79
    assert all(template.count("{}") == 1 for template in IMAGENET)
    assert "a photo of many {}." not in IMAGENET
    assert SETS["plain"] == ("{}",)
