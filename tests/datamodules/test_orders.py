import numpy as np
import pytest

from datamodules.orders import TOGETHER, BlockOrder, ShuffledOrder, make_order

BLOCKS = [5, 3, 9, 1, 4, 7, 2, 6, 5, 8]


@pytest.mark.parametrize("lanes", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("blocks", [BLOCKS, [1], [3], [0, 4, 0, 2]])
def test_every_turn_shows_every_item_once(blocks, lanes):
    items = sum(blocks)
    order = BlockOrder(blocks, [1, 2], lanes=lanes)
    turns = [[order.item(position) for position in range(turn * items, (turn + 1) * items)] for turn in range(3)]
    assert [sorted(turn) for turn in turns] == [list(range(items))] * 3


def test_turns_and_seeds_differ():
    first, second = (BlockOrder(BLOCKS, [seed, 0], lanes=4) for seed in (0, 1))
    turn = [first.item(position) for position in range(50)]
    assert turn != [first.item(position) for position in range(50, 100)]
    assert turn != [second.item(position) for position in range(50)]


def test_blocks_come_in_another_order_in_every_turn_and_for_every_seed():
    first, second = (BlockOrder([10] * 40, [seed, 0], lanes=1) for seed in (0, 1))
    group = range(10 * TOGETHER)
    earliest = [
        {first.item(position) // 10 for position in group},
        {first.item(position + 400) // 10 for position in group},
        {second.item(position) // 10 for position in group},
    ]
    assert [len(blocks) for blocks in earliest] == [TOGETHER] * 3
    assert len({frozenset(blocks) for blocks in earliest}) == 3


def test_an_item_depends_on_its_position_alone():
    forwards, backwards = (BlockOrder(BLOCKS, [3], lanes=4) for _ in range(2))
    turn = [forwards.item(position) for position in range(120)]
    assert turn == [backwards.item(position) for position in reversed(range(120))][::-1]


def test_a_lane_goes_from_few_blocks_to_the_next():
    count, size, lanes = 40, 30, 4
    order = BlockOrder([size] * count, [0], lanes=lanes)
    for lane in range(lanes):
        blocks = np.array([order.item(position) // size for position in range(lane, count * size, lanes)])
        for start in range(0, len(blocks), size * TOGETHER):  # two groups meet in a stretch
            assert len(set(blocks[start : start + size * TOGETHER])) <= 2 * TOGETHER
        assert len(set(blocks[: size * TOGETHER])) > 1  # and their items are mixed
        assert (np.diff(blocks[: size * TOGETHER]) == 0).mean() < 0.5


def test_lanes_of_one_rank_and_of_another_share_no_more_than_where_they_meet():
    count, size, lanes = 64, 10, 8
    order = BlockOrder([size] * count, [5], lanes=lanes)
    per_rank = [
        {order.item(p) // size for p in range(count * size) if p % lanes // (lanes // 2) == rank} for rank in range(2)
    ]
    assert len(per_rank[0] & per_rank[1]) <= TOGETHER
    assert per_rank[0] | per_rank[1] == set(range(count))


def test_items_without_blocks_are_permuted_as_they_always_were():
    order = make_order(7, [4, 1])
    assert isinstance(order, ShuffledOrder)
    for turn in range(2):
        expected = np.random.default_rng([4, 1, turn]).permutation(7).tolist()
        assert [order.item(7 * turn + place) for place in range(7)] == expected


def test_millions_of_items_cost_nothing_before_they_are_drawn():
    order = BlockOrder([400] * 5000, [0], lanes=8)
    assert len({order.item(position) for position in range(1000)}) == 1000
    held = sum(order._group(0, group).nbytes for group in range(8))
    assert held < 8 * TOGETHER * 400 * 8 + 1
