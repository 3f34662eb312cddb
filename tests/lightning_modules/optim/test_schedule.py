import math

import torch

from lightning_modules.optim.schedule import WarmupCosine, scheduled


def rates(peak, count, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = WarmupCosine(optimizer, **settings)
    seen = []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_warm_up_is_linear_and_ends_at_the_peak():
    seen = rates(2.0, 6, warmup=4, total=100)
    assert seen[:4] == [0.5, 1.0, 1.5, 2.0]
    assert seen[4] == 2.0


def test_half_a_cosine_down_to_the_floor_and_no_further():
    seen = rates(1.0, 20, warmup=2, total=12, floor=0.1)
    for iteration in range(2, 12):
        assert math.isclose(seen[iteration], 0.1 + 0.9 * (1 + math.cos(math.pi * (iteration - 2) / 10)) / 2)
    assert all(math.isclose(rate, 0.1) for rate in seen[12:])
    assert math.isclose(seen[7], 0.55)


def test_without_warm_up_it_starts_at_the_peak():
    assert rates(3.0, 1, warmup=0, total=10) == [3.0]


def test_a_budget_shorter_than_the_warm_up_does_not_divide_by_zero():
    assert rates(1.0, 5, warmup=3, total=3)[3:] == [1.0, 0.0]


def test_a_resumed_schedule_goes_on_where_it_was():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupCosine(optimizer, warmup=2, total=10)
    optimizer.step()
    for _ in range(5):
        schedule.step()
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    again = WarmupCosine(other, warmup=2, total=10)
    again.load_state_dict(schedule.state_dict())
    other.load_state_dict(optimizer.state_dict())
    other.step()
    again.step()
    optimizer.step()
    schedule.step()
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == rates(1.0, 7, warmup=2, total=10)[6]


def test_every_optimizer_gets_a_schedule_of_its_own_or_none():
    first, second = (torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate) for rate in (1.0, 2.0))
    made = scheduled([first, second], lambda optimizer: WarmupCosine(optimizer, warmup=2, total=4))
    assert [each["optimizer"] for each in made] == [first, second]
    assert [each["lr_scheduler"].optimizer for each in made] == [first, second]
    assert scheduled([first, second], None) == [first, second]
