"""The pairs that every contender paints."""

import torch

from benchmarks.gallery.held_out import open_data, read_pairs


def keys(pairs):
    sums = [task.content.sum().item() for task in pairs.tasks]
    return set(zip(sums, pairs.artists.tolist(), strict=True))


def test_every_pair_is_every_content_by_every_painter_of_both_splits(small_art, pairs):
    every = read_pairs(open_data(small_art, every=True), every=True)
    assert len(pairs.tasks) == len(keys(pairs)) == 2 * 6
    assert len(every.tasks) == len(keys(every)) == (2 + 2) * 12
    assert keys(pairs) < keys(every)
    assert not any(torch.equal(task.style, truth) for task, truth in zip(every.tasks, every.truths, strict=True))
