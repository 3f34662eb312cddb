import pytest
import torch
import yaml

from benchmarks.contenders.stylists import Method, Redrawer, Task, newest_runs, open_methods

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


class Drawer:
    """Stands in for a method that draws from words, and has learnt painter 10."""

    device, stride = torch.device("cpu"), 8

    def __init__(self):
        self.told = []

    def adapter_state(self):
        return {"<painter-10>": {}}

    def generate(self, prompts, *, size, content, strength, **_):
        self.told.append((prompts, tuple(content.shape), size, strength))
        return content


def test_who_draws_from_words_redraws_the_content_by_the_word_for_the_painter():
    drawer = Drawer()
    contender = Redrawer("NSYNC", drawer)
    painted, _ = contender.paint(TASKS)
    assert (contender.name, contender.takes) == ("NSYNC by name", "text")
    prompts = [told[0] for told in drawer.told[-2:]]
    assert prompts == [["a picture in the style of <painter-10>"], ["a picture in the style of painter 200"]]
    assert {told[1:] for told in drawer.told} == {((1, 3, 16, 16), (16, 16), 0.6)}
    assert all(torch.equal(picture, CONTENT) for picture in painted)


def test_who_draws_from_words_is_one_contender_who_is_told_words(monkeypatch):
    monkeypatch.setattr("benchmarks.contenders.stylists.open_model", lambda path, device: Drawer())
    monkeypatch.setattr("benchmarks.contenders.stylists.GenerativeModule", Drawer)
    (contender,) = open_methods({"a": "a.ckpt"}, ["text", "image"])
    assert isinstance(contender, Redrawer)
    assert not open_methods({"a": "a.ckpt"}, ["image"])


def test_the_newest_runs_are_those_of_methods_that_restyle_pictures(tmp_path):
    recipes = {
        "clast": "lightning_modules.clast.CLAST",
        "artist": "lightning_modules.classifiers.artist.ArtistClassification",
        "drawing": "lightning_modules.generation.GenerativeModule",
        "begun": None,
    }
    for name, path in recipes.items():
        folder = tmp_path / name / "first" / "checkpoints"
        folder.mkdir(parents=True)
        (tmp_path / name / "latest").symlink_to("first")
        if path:
            signature = {"method": name, "recipe": yaml.safe_dump({"class_path": path, "init_args": {}}), "frozen": {}}
            torch.save({"impasto": signature}, folder / "best.ckpt")
    assert newest_runs(tmp_path) == {name: str(tmp_path / name / "latest") for name in ("clast", "drawing")}
