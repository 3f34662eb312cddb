from io import StringIO

import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from experiments.progress import watching


class Painter:
    optimises = True
    on_iteration = None


def bar(**settings):
    return Progress(console=Console(file=StringIO()), **settings)


def test_iterations_and_losses_are_a_bar_for_as_long_as_they_run():
    painter, progress = Painter(), bar()
    with watching(painter, progress, "a[b].jpg"):
        painter.on_iteration(4, 20, {"patch": torch.tensor([0.25, 0.75]), "tv": torch.tensor([3.0, 3.0])})
        [task] = progress.tasks
        assert (task.completed, task.total) == (5, 20)
        assert task.description == "a\\[b].jpg  patch 0.5  tv 3"
    assert not progress.tasks
    assert painter.on_iteration is None


def test_a_painter_that_fails_leaves_no_bar():
    painter, progress = Painter(), bar()
    with pytest.raises(RuntimeError), watching(painter, progress, "a.jpg"):
        raise RuntimeError
    assert not progress.tasks
    assert painter.on_iteration is None


@pytest.mark.parametrize(("optimises", "disable"), [(False, False), (True, True)])
def test_nobody_waits_for_losses_that_nobody_sees(optimises, disable):
    painter, progress = Painter(), bar(disable=disable)
    painter.optimises = optimises
    with watching(painter, progress, "a.jpg"):
        assert painter.on_iteration is None
        assert not progress.tasks
