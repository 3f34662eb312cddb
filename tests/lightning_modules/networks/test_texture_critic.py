import pytest
import torch
import torch.nn.functional as F

from lightning_modules.networks.texture_critic import Exhibit, TextureCritic

CHANNELS = {"relu1_1": 3, "relu3_1": 5}


ARTISTS = torch.tensor([0, 0, 1, 1])


def exhibit(size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    maps = {"relu1_1": draw(size, 3, 8, 12), "relu3_1": draw(size, 5, 2, 3)}
    return Exhibit(maps, draw(size, 6))


def critic():
    torch.manual_seed(0)
    return TextureCritic(CHANNELS, 6, width=4).double()


def score(head, maps, condition):
    """One picture under one condition."""
    first, _, second, _ = head.body
    stride = 2 if len(maps) == 3 else 1
    hidden = F.leaky_relu(F.conv2d(maps[None], first.weight, first.bias, stride=stride, padding=1), 0.2)
    hidden = F.leaky_relu(F.conv2d(hidden, second.weight, second.bias, padding=1), 0.2)[0]
    direction = head.project.weight @ condition
    width = hidden.shape[0]
    own = torch.einsum("chw,c->hw", hidden, head.out.weight[0, :, 0, 0]) + head.out.bias
    return own + torch.einsum("chw,c->hw", hidden, direction) / width**0.5


def test_the_generator_is_judged_under_its_own_conditions():
    network, painted = critic(), exhibit()
    loss = network.adversary(painted, exhibit(seed=1), ARTISTS)
    expected = [
        -torch.stack([score(head, painted.maps[layer][i], painted.condition[i]) for i in range(4)]).mean()
        for layer, head in network.heads.items()
    ]
    assert torch.allclose(loss, torch.stack(expected).mean(), atol=1e-12)


def test_the_critic_wants_paintings_under_their_painters_and_nothing_else():
    network, painted, paintings = critic(), exhibit(), exhibit(seed=1)
    network.adversary(painted, paintings, ARTISTS)
    loss = network.loss()
    total = 0
    for layer, head in network.heads.items():
        true, made = paintings.maps[layer], painted.maps[layer]
        real = [F.relu(1 - score(head, true[i], paintings.condition[i])).mean() for i in range(4)]
        fake = [F.relu(1 + score(head, made[i], painted.condition[i])).mean() for i in range(4)]
        foreign = [
            F.relu(1 + score(head, true[i], paintings.condition[j])).mean()
            for i in range(4)
            for j in range(4)
            if ARTISTS[i] != ARTISTS[j]
        ]
        total += sum(real) / 4 + (sum(fake) / 4 + sum(foreign) / len(foreign)) / 2
    assert torch.allclose(loss, total / 2, atol=1e-12)


def test_the_critic_sends_no_gradient_into_the_pictures():
    network, painted = critic(), exhibit()
    for maps in painted.maps.values():
        maps.requires_grad_()
    network.adversary(painted, exhibit(seed=1), ARTISTS)
    network.loss().backward()
    assert all(maps.grad is None for maps in painted.maps.values())
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_one_painter_alone_has_no_foreign_paintings_and_other_numbers_of_pictures_are_welcome():
    network = critic()
    network.adversary(exhibit(size=2), exhibit(size=3, seed=1), torch.zeros(3, dtype=torch.int64))
    assert torch.isfinite(network.loss())


def test_there_must_be_something_to_judge_and_it_is_judged_once():
    network = critic()
    with pytest.raises(RuntimeError, match="adversary"):
        network.loss()
    network.adversary(exhibit(), exhibit(seed=1), ARTISTS)
    network.loss()
    with pytest.raises(RuntimeError, match="adversary"):
        network.loss()
