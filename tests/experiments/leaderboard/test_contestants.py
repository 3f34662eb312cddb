"""The list of entries: the one that ships, and what a wrong one says."""

from pathlib import Path

import pytest
import yaml

from experiments.leaderboard.claims import read_claims
from experiments.leaderboard.contestants import read_roster
from lightning_modules.errors import ImpastoError
from metrics.catalogue import find

ROOT = Path(__file__).parents[3]
GOOD = {
    "seeds": [0, 1],
    "sections": {"s": {"title": "S", "protocol": "procedural"}},
    "entries": {"a": {"name": "A", "method": "m", "section": "s", "configs": ["a.yaml"]}},
}


@pytest.fixture
def roster_of(tmp_path):
    """Return a function from changes of a good entry to the roster that is read."""

    def read(**changes):
        said = GOOD | {"entries": {"a": {k: v for k, v in (GOOD["entries"]["a"] | changes).items() if v is not None}}}
        path = tmp_path / "entries.yaml"
        path.write_text(yaml.safe_dump(said))
        return read_roster(path)

    return read


def test_the_list_that_ships_names_what_is_there():
    roster = read_roster()
    for who in roster.contestants:
        assert all((ROOT / config).is_file() for config in who.configs)
        assert (ROOT / "lightning_modules" / who.method).is_dir()
    papers = {path.parent.name for path in (ROOT / "experiments").glob("*/published.yaml")}
    assert {who.method for who in roster.contestants if who.kind == "paper"} == papers
    assert len({who.name for who in roster.contestants}) == len(roster.contestants)
    claims = read_claims(roster)
    assert {claim.paper.casefold() for claim in claims} == papers
    shown = {metric for section in roster.sections.values() for metric in section.shown}
    asked = {metric for claim in claims for metric in claim.by}
    assert not asked - shown


def test_the_list_that_ships_shows_metrics_that_there_are():
    for section in read_roster().sections.values():
        names = [metric.removeprefix("val/").removesuffix("_embedded") for metric in section.shown]
        for name in names:
            assert find(name.removesuffix("_truth").removesuffix("_content"))
        if section.protocol is not None:
            measured = yaml.safe_load((ROOT / "experiments/protocols" / f"{section.protocol}.yaml").read_text())[
                "metrics"
            ]
            assert set(names) <= {*measured, *(["panel_named"] if section.panel else [])}


def test_first_seeds_come_first(roster_of, tmp_path):
    said = GOOD | {"entries": {key: GOOD["entries"]["a"] | {"name": key} for key in ("a", "b")}}
    said["entries"]["b"] |= {"seeds": [7]}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(said))
    roster = read_roster(path)
    assert [(who.key, seed) for who, seed in roster.units([], [])] == [("a", 0), ("b", 7), ("a", 1)]
    assert [(who.key, seed) for who, seed in roster.units(["a"], [1])] == [("a", 1)]
    with pytest.raises(ImpastoError, match="called c: choose of a, b"):
        roster.units(["c"], [])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"section": "t"}, "in no section"),
        ({"kind": "winner"}, "of kind winner"),
        ({"checkpoint": "x.ckpt"}, "configs or a checkpoint"),
        ({"configs": None}, "configs or a checkpoint"),
        ({"name": None}, "has no name"),
        ({"seeds": []}, "no seeds"),
        ({"colour": "red"}, "colour is none of"),
        ({"trains": False, "options": ["--x"]}, "no training to give them to"),
    ],
)
def test_a_wrong_entry_is_one_sentence(roster_of, changes, sentence):
    assert roster_of().contestants[0].seeds == (0, 1)
    with pytest.raises(ImpastoError, match=sentence):
        roster_of(**changes)


def test_a_missing_list_is_one_sentence(tmp_path):
    with pytest.raises(ImpastoError, match="no list of entries"):
        read_roster(tmp_path / "none.yaml")


def test_runs_are_shared_by_what_differs_in_its_evaluation_alone(roster_of):
    both = [roster_of(condition=condition).contestants[0].name_of_run(2) for condition in (None, "image")]
    assert both == ["leaderboard-a-2"] * 2
    assert roster_of(configs=["x/tiny.yaml", "x/b.yaml"]).contestants[0].name_of_run(0) == "leaderboard-b-0"
    assert roster_of(options=["--lr=1"]).contestants[0].name_of_run(0) == "leaderboard-a-0"


def test_a_seed_that_nobody_has_is_said(roster_of):
    with pytest.raises(ImpastoError, match=r"Nobody of these has the seed 9: choose of 0, 1\."):
        roster_of().units([], [1, 9])
