import torch

from datamodules.images import read_image


def test_the_pairs_are_those_of_the_tiny_profile(pairs, small_art):
    assert len(pairs.tasks) == 12
    assert pairs.truths.shape == (12, 3, 192, 192)
    assert pairs.truths.dtype == torch.uint8
    assert len({task.prompt for task in pairs.tasks}) == 12  # six painters a content, in turn
    assert all(not torch.equal(task.style, truth) for task, truth in zip(pairs.tasks, pairs.truths, strict=True))


def test_the_truth_is_the_painters_painting_of_the_content(pairs, small_art):
    titles = [content.title for content in small_art.contents("val")]
    for number in (0, 7):
        path = small_art.root / "val" / "paintings" / pairs.tasks[number].prompt / f"{titles[number // 6]}.png"
        small = torch.nn.functional.interpolate(pairs.truths[number][None] / 255, (48, 48), mode="area")
        assert float((small[0] - read_image(path)).abs().mean()) < 0.05


def test_every_painter_has_one_style(pairs):
    styles = pairs.first_style()
    assert list(styles) == sorted(styles)
    assert len(styles) == 12
    task = pairs.tasks[3]
    assert torch.equal(styles[task.prompt], task.style)
