import torch

from benchmarks.contenders.stylists import Task
from benchmarks.gallery.pages import TELLING, pair_pages, photograph_page, strip, telling_pairs


def test_pages_have_a_row_a_pair_and_a_column_a_contender(pairs):
    painted = {"one": [*pairs.contents], "two": [*pairs.truths]}
    notes = {"one": ["named"] * 12}
    pages = pair_pages(pairs, painted, notes, shown=5, rows=3, cell=20)
    assert [page.shape[1] for page in pages] == [22 + rows * (20 + 28) for rows in (3, 2)]
    assert pages[0].shape[2] == 6 + 5 * 26


def test_what_somebody_painted_stands_under_his_name(pairs):
    black = [torch.zeros_like(truth) for truth in pairs.truths]
    page = pair_pages(pairs, {"black": black}, {}, shown=12, rows=12, cell=20)[0]
    columns = [page[:, 22:42, 6 + 26 * column : 26 + 26 * column] for column in range(4)]
    assert [float(column.mean()) > 0 for column in columns] == [True, True, False, True]


def test_the_telling_pairs_are_one_of_each_painter_on_different_contents(pairs):
    found = telling_pairs(pairs)
    assert [pairs.tasks[number].prompt for number in found] == list(TELLING)
    assert found == telling_pairs(pairs)
    assert {number // 6 for number in found} == {0, 1}


def test_a_strip_shows_the_telling_pairs_of_one_contender(pairs):
    assert strip(pairs, [*pairs.truths], cell=32).shape[2] == 6 + len(TELLING) * 38


def test_styles_are_cut_to_the_photographs_proportions():
    photograph = torch.zeros(3, 30, 60, dtype=torch.uint8)
    style = torch.zeros(3, 40, 40, dtype=torch.uint8)
    style[:, 10:30] = 200  # the middle, which is what remains
    tasks = [Task(photograph, style, "Ada Stipple"), Task(photograph, style, None)]
    page = photograph_page(tasks, {"one": [photograph] * 2}, cell=60)
    assert page.shape == (3, 22 + 2 * (30 + 28), 6 + 3 * 66)
    assert float(page[:, 22:52, 72:132].min()) > 0.7
