import pytest
import torch
from PIL import Image

from benchmarks import export
from lightning_modules.errors import ImpastoError


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of two contents and three styles of different sizes."""
    for name, colours in {"content": ("teal", "olive"), "style": ("red", "blue", "gold")}.items():
        (tmp_path / name).mkdir()
        for number, colour in enumerate(colours):
            Image.new("RGB", (90 + number, 70), colour).save(tmp_path / name / f"{number}.png")
    return tmp_path


class Copyist:
    takes = "image"

    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds

    def paint(self, tasks):
        return [task.style for task in tasks], [self.seconds] * len(tasks)


def test_pairs_are_squares_of_one_size(pictures):
    tasks = export.read_tasks(pictures, 64, None)
    assert [task.content.shape for task in tasks] == [(3, 64, 64)] * 2
    assert tasks[1].style.flatten(1).float().mean(1).round().tolist() == [0, 0, 255]
    assert len(export.read_tasks(pictures, 64, 1)) == 1
    with pytest.raises(ImpastoError, match="content/content does not exist"):
        export.read_tasks(pictures / "content", 64, None)


def test_everybody_paints_in_turns_and_is_judged_by_the_same(pictures):
    tasks = export.read_tasks(pictures, 64, None)
    everybody = [Copyist("a", 1.0), Copyist("b", 3.0)]
    done = export.paint_in_turns(everybody, tasks, 2)
    assert done["b"][1] == [3.0] * 4
    jury = export.Jury("embedded")
    copied, untouched = (jury.judge(each, tasks) for each in (done["a"][0], [task.content for task in tasks]))
    assert copied.keys() == untouched.keys() == {"sifid_embedded", "chamfer", "lpips_embedded"}
    assert copied["chamfer"] == 0 < untouched["chamfer"]
    assert untouched["lpips_embedded"] == 0 < copied["lpips_embedded"]
    rows = [{"name": "a", "seconds": 1.0, "figures": copied}, {"name": "none", "seconds": None, "figures": untouched}]
    assert export.table(rows).splitlines()[2].startswith("| a | 1.000 | ")
    assert "| none | - |" in export.table(rows)


def test_how_far_two_painters_are_apart():
    one = torch.zeros(3, 4, 4, dtype=torch.uint8)
    assert export._apart([one, one + 7], [one, one]) == 7
