import pytest
import yaml

from experiments.commands.evaluate import add_arguments
from experiments.evaluation.recipe import parse_recipe, presets, protocol_file, read_mapping
from lightning_modules.errors import ImpastoError
from metrics.catalogue import find

PAPERS = {
    "clast": {"contents": 700, "artists": 13, "pairs": 9100},
    "contraast": {"contents": 10, "styles": 15, "pairs": 150},
    "contraast-video": {"clips": 18},
    "least": {"contents": 25, "pairs": 250},
    "neat": {"contents": 15, "styles": 50, "pairs": 750},
    "neat-512": {"contents": 15, "styles": 50, "pairs": 750},
    "nsync": {"styles": [121, 400, 311, 309, 189, 39]},
    "procedural": {"contents": 12, "artists": 12, "pairs": 144},
    "styleshot": {"contents": 40, "artists": 73, "styles": 490, "pairs": 19600},
    "every": {},
}
SMALL = {"name": "a", "source": "nobody", "pairing": "every", "metrics": ["ssim"]}


def recipe(**changes):
    return parse_recipe({**SMALL, **changes}, "a.yaml")


@pytest.mark.parametrize("name", sorted(presets()))
def test_a_preset_has_the_numbers_of_its_paper(name):
    path = protocol_file(name)
    found = parse_recipe(read_mapping(path), path)
    assert found.name == name
    assert found.counts == PAPERS[name]
    assert len(found.source) > 20
    for metric in found.metrics:
        find(metric.removesuffix("_truth"))
    counts = found.counts
    if found.pairing != "jobs" and "pairs" in counts:
        assert counts["pairs"] == counts["contents"] * counts.get("styles", counts.get("artists"))


def test_every_paper_has_a_preset_and_the_help_names_all():
    assert presets().keys() == PAPERS.keys()
    words = []

    class Parser:
        def add_argument(self, *names, **settings):
            words.append(settings.get("help", ""))

        def add_mutually_exclusive_group(self, **_):
            return self

    add_arguments(Parser())
    assert all(name in " ".join(words) for name in PAPERS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resise": 3}, "did you mean 'resize'"),
        ({"resize": "large"}, "int"),
        ({"resize": 8}, "at least 16"),
        ({"pairing": "evry"}, "evry"),
        ({"crop": "stretch"}, "needs a resize"),
        ({"metrics": []}, "metrics names none"),
        ({"warm_up": -1}, "negative"),
        ({"counts": {"styles": 0}}, "positive"),
        ({"estimator": {"level": 1.5}}, "between 0 and 1"),
        ({"estimator": {"resamples": 0}}, "at least 1"),
    ],
)
def test_what_does_not_fit_is_one_sentence(changes, words):
    with pytest.raises(ImpastoError, match=r"^The protocol a.yaml does not fit: ") as error:
        recipe(**changes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_protocol(tmp_path):
    with pytest.raises(ImpastoError, match=r"There is no protocol nat: give a file, or one of clast, .*styleshot"):
        protocol_file("nat")
    for text, words in (("[1, 2]", "holds no settings"), ("a: [", "cannot be read")):
        (tmp_path / "p.yaml").write_text(text)
        with pytest.raises(ImpastoError, match=words):
            read_mapping(tmp_path / "p.yaml")


def test_presets_are_written_as_people_read_them():
    for path in presets().values():
        assert path.read_text().startswith("#")
        assert yaml.safe_load(path.read_text())["name"] == path.stem
