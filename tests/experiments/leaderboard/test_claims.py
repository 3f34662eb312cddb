"""What the papers claim, asked of records."""

import numpy as np
import pytest

from experiments.leaderboard.claims import Answer, Claim, ask, read_claims, summed_up
from experiments.leaderboard.contestants import Contestant, Roster, Section
from experiments.leaderboard.records import Record
from experiments.leaderboard.statistics import Difference
from lightning_modules.errors import ImpastoError


def records(key, level, better="higher", seeds=3):
    noise = np.random.default_rng(int(level * 10))
    pairs = {"content": [0, 0, 1, 1], "style": [0, 1, 0, 1]}
    made = []
    for seed in range(seeds):
        values = (level + noise.normal(0, 0.01, 4)).tolist()
        metric = {"mean": float(np.mean(values)), "low": None, "high": None, "better": better}
        made.append(Record(key, seed, {"training": {}}, {"m": metric}, pairs | {"m": values}))
    return made


def claim(**settings):
    return Claim(**{"paper": "P", "says": "s", "source": "t", "better": "a", "than": ("b",), "by": ("m",), **settings})


def verdicts(a, b, **settings):
    return [answer.verdict for answer in ask([claim(**settings)], {"a": a, "b": b})]


def test_a_claim_holds_where_the_difference_is_surely_on_its_side():
    assert verdicts(records("a", 2), records("b", 1)) == ["holds"]
    assert verdicts(records("a", 1), records("b", 2)) == ["does not hold"]


def test_a_lower_value_is_better_where_the_metric_says_so():
    assert verdicts(records("a", 1, "lower"), records("b", 2, "lower")) == ["holds"]
    answer = ask([claim()], {"a": records("a", 1, "lower"), "b": records("b", 2, "lower")})[0]
    assert answer.found.low < answer.found.mean == pytest.approx(1, abs=0.02)
    assert answer.found.mean < answer.found.high


def test_nobody_knows_while_zero_is_inside_or_a_seed_is_alone():
    assert Answer(claim(), "b", "m", Difference(0.5, -0.1, 1.1)).verdict == "undecided"
    assert verdicts(records("a", 2, seeds=1), records("b", 1)) == ["undecided"]


def test_what_is_not_measured_or_cannot_be_asked_is_said():
    assert verdicts(records("a", 2), []) == ["not measured"]
    assert verdicts(records("a", 2), records("b", 1), by=("other",)) == ["not measured"]
    unasked = claim(better="", than=(), by=(), cannot="it needs people")
    assert [answer.verdict for answer in ask([unasked], {})] == ["cannot be asked"]


def test_every_metric_and_every_other_gets_an_answer():
    found = ask([claim(than=("b", "c"), by=("m", "n"))], {})
    assert [(answer.metric, answer.than) for answer in found] == [("m", "b"), ("m", "c"), ("n", "b"), ("n", "c")]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"than": ["nobody"]}, "nobody, who is not on the leaderboard"),
        ({"than": ["other"]}, "two tables"),
        ({"by": []}, "compares nothing"),
        ({"beter": "a"}, "not what it should be"),
    ],
)
def test_a_wrong_claim_is_one_sentence(change, sentence):
    who = [
        Contestant(key, key, "x", section, checkpoint="c") for key, section in (("a", "s"), ("b", "s"), ("other", "t"))
    ]
    said = {"paper": "P", "says": "s", "source": "t", "better": "a", "than": ["b"], "by": ["m"]}
    sections = {"s": Section("S", protocol="p"), "t": Section("T", protocol="p")}
    assert len(read_claims(Roster(sections, who, (said,)))) == 1
    with pytest.raises(ImpastoError, match=sentence):
        read_claims(Roster(sections, who, (said | change,)))


def test_a_claim_is_summed_up_as_what_all_lines_say_or_how_many_say_what():
    surely, hardly = Difference(1, 0.5, 1.5), Difference(1, -0.5, 2.5)
    lines = [Answer(claim(), "b", "m", each) for each in (surely, hardly, surely, None)]
    assert summed_up(lines) == "holds in 2 of 4, undecided in 1 of 4, not measured in 1 of 4"
    assert summed_up([lines[0], lines[2]]) == "holds"
    assert summed_up([lines[0], lines[3]]) == "holds in 1 of 2, not measured in 1 of 2"
    assert summed_up(lines[3:]) == "not measured"
