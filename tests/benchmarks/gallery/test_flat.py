import torch

from benchmarks.gallery.flat import COLOURS, FlatContents


def test_what_the_painters_paint_again_is_as_directed_as_their_own(pairs):
    flat = FlatContents(pairs)
    assert len(flat.tasks) == 12 * len(COLOURS)
    assert flat.tasks[0].content.unique(dim=2).shape[1:] == (192, 1)
    assert 1 <= flat.relative(flat.again) < 1.05
    assert max(flat.by_painter(flat.again).values()) < 1.3


def test_streaks_along_the_rows_show(pairs):
    flat = FlatContents(pairs)
    streaked = [picture // 2 + (torch.arange(192) % 4 * 40).byte()[:, None] for picture in flat.again]
    assert flat.relative(streaked) > 1.5
    one = [streaked[0], streaked[1], *flat.again[2:]]  # one painter's pictures alone
    shares = flat.by_painter(one)
    assert max(shares, key=shares.get) == flat.tasks[0].prompt
