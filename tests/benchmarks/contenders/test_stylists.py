import pytest
import torch
import yaml

from benchmarks.contenders.stylists import Method, Task, newest_runs, open_methods

CONTENT = torch.full((3, 16, 16), 100, dtype=torch.uint8)
TASKS = [Task(CONTENT, torch.full((3, 24, 24), level, dtype=torch.uint8), f"painter {level}") for level in (10, 200)]


class Recorder:
    """Stands in for a trained method: writes down what it is told, and paints the content a little lighter."""

    conditions = frozenset({"text", "image", "region"})
    device = torch.device("cpu")

    def __init__(self):
        self.told = []

    def stylize(self, content, *, style, prompt, **_):
        self.told.append((None if style is None else round(float(style.mean() * 255)), prompt))
        return content + 0.6 / 255


@pytest.mark.parametrize(
    ("takes", "name", "told"),
    [
        ("text", "M by name", [(None, "painter 10"), (None, "painter 200")]),
        ("image", "M by picture", [(10, None), (200, None)]),
    ],
)
def test_a_method_is_told_one_style_a_picture(takes, name, told):
    model = Recorder()
    method = Method("M", model, takes)
    painted, seconds = method.paint(TASKS)
    assert method.name == name
    assert model.told[-2:] == told
    assert len(seconds) == 2
    assert min(seconds) >= 0
    assert all(torch.equal(picture, CONTENT + 1) for picture in painted)  # rounded as a file is, not cut off


def test_every_condition_that_is_wanted_and_taken_is_a_contender(monkeypatch):
    monkeypatch.setattr("benchmarks.contenders.stylists.open_model", lambda path, device: Recorder())
    found = open_methods({"a": "a.ckpt", "b": "b.ckpt"}, ["image"])
    assert [method.name for method in found] == ["a by picture", "b by picture"]
    assert len(open_methods({"a": "a.ckpt"}, ["text", "image"])) == 2


def test_the_newest_runs_are_those_of_methods_that_restyle_pictures(tmp_path):
    recipes = {
        "clast": "lightning_modules.clast.CLAST",
        "artist": "lightning_modules.classifiers.artist.ArtistClassification",
        "begun": None,
    }
    for name, path in recipes.items():
        folder = tmp_path / name / "first" / "checkpoints"
        folder.mkdir(parents=True)
        (tmp_path / name / "latest").symlink_to("first")
        if path:
            signature = {"method": name, "recipe": yaml.safe_dump({"class_path": path, "init_args": {}}), "frozen": {}}
            torch.save({"impasto": signature}, folder / "best.ckpt")
    assert newest_runs(tmp_path) == {"clast": str(tmp_path / "clast" / "latest")}
