"""`impasto study`: a page that gives nothing away, and votes that are counted right."""

import base64
import csv
import html
import io
import json
import re
import shutil

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from experiments.cli import execute
from experiments.study.votes import COLUMNS

METHODS = ("secretone", "secrettwo", "secretthree")
PAIRS = 8


@pytest.fixture
def evaluated(tmp_path):
    """Three evaluated folders of one protocol, whose pictures have their method's number as colour."""
    for number, method in enumerate(METHODS):
        folder = tmp_path / method
        rows = []
        for pair in range(PAIRS):
            names = {
                "stylized": f"pictures/{pair}.png",
                "content": f"inputs/c{pair}.png",
                "style": f"inputs/s{pair % 4}.png",
            }
            for kind, name in names.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                colour = (60 + 60 * number, 10 * pair, 0) if kind == "stylized" else (0, 0, 100 + 10 * pair)
                about = PngInfo()
                about.add_text("Comment", method)
                Image.new("RGB", (20, 16), colour).save(folder / name, pnginfo=about)
            rows.append({"id": f"{pair:04}", **names})
        with (folder / "evaluation.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "stylized", "content", "style"])
            writer.writeheader()
            writer.writerows(rows)
        result = {"format": 1, "method": method, "protocol": {"name": "neat", "sha256": "a" * 64, "n": PAIRS}}
        (folder / "evaluation.json").write_text(json.dumps(result))
    return [tmp_path / method for method in METHODS]


@pytest.fixture
def ask(evaluated, tmp_path):
    """Return a function from options to the page's text, its data and the key."""

    def run(*options, count=2):
        out = tmp_path / f"study{len(list(tmp_path.glob('study*')))}"
        assert execute(["study", *map(str, evaluated[:count]), "--out", str(out), *options]) == 0
        page = (out / "study.html").read_text()
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page).group(1)
        return page, json.loads(data), json.loads((out / "key/key.json").read_text())

    return run


def colour(data, number):
    picture = Image.open(io.BytesIO(base64.b64decode(data["pictures"][number].partition(",")[2])))
    return picture.convert("RGB").getpixel((10, 8))


def test_the_page_gives_nothing_away_and_the_key_tells_all(ask, evaluated):
    page, data, key = ask("--questions", "overall,style,deception", "--pairs", "5", "--pictures", "3")
    assert not any(
        method.encode() in base64.b64decode(each.partition(",")[2]) for each in data["pictures"] for method in METHODS
    )
    plain = html.unescape(re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", page))
    for word in (*METHODS, "human", "stylized", "pictures/", "inputs", str(evaluated[0].parent)):
        assert word not in plain
    assert len({trial["id"] for trial in data["trials"]}) == len(data["trials"]) == 5 + 5 + 3 * 3
    assert {trial["id"] for trial in data["trials"]} == key["trials"].keys()
    for trial in data["trials"]:
        known = key["trials"][trial["id"]]
        assert {option["id"] for option in trial["options"]} == known["options"].keys()
        for option in trial["options"]:
            method, (red, _, blue) = known["options"][option["id"]], colour(data, option["picture"])
            if method == "human":
                assert (red < 10, blue > 90) == (True, True)
            else:
                assert red == pytest.approx(60 + 60 * METHODS.index(method), abs=6)
        if trial["question"] == "deception":
            assert trial["content"] is None
        else:
            assert colour(data, trial["content"])[2] > 90


def test_neither_place_nor_order_tells_whose_a_picture_is(ask):
    _, data, key = ask("--questions", "overall,deception", "--seed", "1")
    duels = [trial for trial in data["trials"] if trial["question"] == "overall"]
    first = [key["trials"][trial["id"]]["options"][trial["options"][0]["id"]] for trial in duels]
    assert set(first) == set(METHODS[:2])
    # The style pictures are judged here, too.
    shown = {trial[kind] for trial in duels for kind in ("content", "style")}
    chosen = {option["picture"] for trial in data["trials"] for option in trial["options"]}
    assert not shown & chosen
    pictures = [key["trials"][t["id"]]["options"][o["id"]] for t in data["trials"] for o in t["options"]]
    places = [option["picture"] for trial in data["trials"] for option in trial["options"]]
    ordered = [method for _, method in sorted(zip(places, pictures, strict=True))]
    assert ordered not in (sorted(ordered), sorted(ordered, reverse=True))


def test_what_is_not_seeded_is_drawn_anew(ask):
    keys = [ask(*options)[2] for options in ((), (), ("--seed", "3"), ("--seed", "3"))]
    assert keys[0]["study"] != keys[1]["study"]
    assert keys[2] == keys[3]


def test_the_page_asks_no_network(ask):
    page, *_ = ask()
    assert "default-src 'none'" in page
    assert not re.findall(r"https?://|(?:src|href)=\"(?!data:)", page)


def test_all_methods_at_once_or_two_by_two(ask):
    _, data, _ = ask("--together", "--pairs", "4", count=3)
    assert [len(trial["options"]) for trial in data["trials"]] == [3] * 4
    _, data, key = ask("--pairs", "4", "--per-voter", "5", count=3)
    assert len(data["trials"]) == 3 * 4
    assert data["perVoter"] == 5
    duels = [tuple(sorted(trial["options"].values())) for trial in key["trials"].values()]
    assert {duel: duels.count(duel) for duel in duels} == dict.fromkeys(map(tuple, map(sorted, [
        METHODS[:2], METHODS[1:], METHODS[::2]
    ])), 4)  # fmt: skip


def vote(path, key, choose, voter="v", **changes):
    """Write the file of one person, who chooses by a function of question and methods."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, (trial, known) in enumerate(key["trials"].items()):
            answer = choose(number, known["question"], known["options"])
            row = {
                "study": key["study"],
                "voter": voter,
                "trial": trial,
                "question": known["question"],
                "choice": answer,
            }
            writer.writerow({"shown": "", "seconds": "1.0", "at": "now", **row, **changes})
    return path


def prefer(method, first=99):
    """Choose one method's picture in the first trials, the other's in the rest; take what people made for real."""

    def choose(number, question, options):
        if question == "deception":
            return "yes" if "human" in options.values() else "no"
        wanted = next(name for name in options.values() if (name == method) == (number < first))
        return next(name for name, whose in options.items() if whose == wanted)

    return choose


def count(key, tmp_path, *files):
    (tmp_path / "key.json").write_text(json.dumps(key))
    out = tmp_path / "counted"
    words = ["study", "--votes", *map(str, files), "--key", str(tmp_path / "key.json"), "--out", str(out)]
    status = execute(words)
    return json.loads((out / "votes.json").read_text()) if status == 0 else status


def test_votes_become_shares_with_intervals(ask, tmp_path, capsys):
    _, _, key = ask("--questions", "overall", "--pairs", "8")
    files = [
        vote(tmp_path / "a.csv", key, prefer("secretone"), "a"),
        vote(tmp_path / "b.csv", key, prefer("secretone", 6), "b"),
        vote(tmp_path / "c.csv", key, prefer("secrettwo", 4), "c"),
    ]
    found = count(key, tmp_path, *files)
    assert capsys.readouterr().out.splitlines()[-1].endswith("counted/votes.json")
    assert (found["voters"], found["votes"]) == (3, 24)
    one, two = (found["preference"]["overall"][method] for method in METHODS[:2])
    assert one["share"] == (8 + 6 + 4) / 24
    assert one["share"] + two["share"] == 1
    assert one["low"] == pytest.approx(0.5510, abs=1e-4)  # scipy.stats.binomtest(18, 24).proportion_ci(method="wilson")
    assert one["high"] == pytest.approx(0.8800, abs=1e-4)
    (duel,) = found["duels"]["overall"]
    assert (duel["method"], duel["against"], duel["trials"]) == ("secretone", "secrettwo", 8)
    # Trials 0-3: a and b for the first; 4 and 5: all three; 6 and 7: a and c.
    assert duel["consensus"] == 1
    table = (tmp_path / "counted/votes.csv").read_text().splitlines()
    assert table[0] == "question,method,against,share,low,high,votes,consensus"
    assert len(table) == 1 + 2 + 1


def test_a_trial_that_is_tied_counts_half_for_each(ask, tmp_path):
    _, _, key = ask("--pairs", "4")
    files = [vote(tmp_path / f"{name}.csv", key, prefer(f"secret{name}"), name) for name in ("one", "two")]
    assert count(key, tmp_path, *files)["duels"]["overall"][0]["consensus"] == 0.5


def test_the_share_of_what_people_made_stands_beside_those_of_methods(ask, tmp_path):
    _, _, key = ask("--questions", "deception", "--pictures", "4")
    found = count(key, tmp_path, vote(tmp_path / "a.csv", key, prefer("secretone")))
    assert list(found["deception"]) == ["human", *METHODS[:2]]
    assert [entry["share"] for entry in found["deception"].values()] == [1, 0, 0]
    assert [entry["votes"] for entry in found["deception"].values()] == [4, 4, 4]
    assert found["preference"] == {}


def test_a_vote_counts_once_and_the_later_one(ask, tmp_path):
    _, _, key = ask("--pairs", "4")
    first = vote(tmp_path / "a.csv", key, prefer("secretone"))
    second = vote(tmp_path / "b.csv", key, prefer("secrettwo"))
    found = count(key, tmp_path, first, first, second)
    assert found["votes"] == 4
    assert found["preference"]["overall"]["secrettwo"]["share"] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"study": "other"}, "is a vote of the study other"),
        ({"trial": "none"}, "has a vote that the study does not know"),
        ({"choice": "yes"}, "has a vote that the study does not know"),
        ({"voter": ""}, "has a vote that the study does not know"),
    ],
)
def test_votes_that_are_not_of_this_study_are_refused(ask, tmp_path, capsys, changes, words):
    _, _, key = ask("--pairs", "2")
    assert count(key, tmp_path, vote(tmp_path / "a.csv", key, prefer("secretone"), **changes)) == 1
    error = capsys.readouterr().err
    assert f"Line 2 of {tmp_path / 'a.csv'}" in error
    assert words in error


def test_files_that_do_not_fit_are_one_sentence(ask, evaluated, tmp_path, capsys):
    _, _, key = ask("--pairs", "2")
    votes = tmp_path / "empty.csv"
    votes.write_text("a,b\n1,2\n")
    assert count(key, tmp_path, votes) == 1
    assert "holds no votes: its columns must be study, voter" in capsys.readouterr().err
    votes.write_text(",".join(COLUMNS) + "\n")
    assert count(key, tmp_path, votes) == 1
    assert "There are no votes" in capsys.readouterr().err
    assert count({"a": 1}, tmp_path, votes) == 1
    assert "is no key of a study" in capsys.readouterr().err
    out = ["--out", str(tmp_path / "new")]
    other = json.loads((evaluated[1] / "evaluation.json").read_text())
    other["protocol"]["sha256"] = "b" * 64
    (evaluated[1] / "evaluation.json").write_text(json.dumps(other))
    for words, sentence in (
        (["study", str(evaluated[0]), *out], "at least two folders"),
        (["study", *map(str, evaluated[:2]), *out], "people must see the same pairs"),
        (["study", str(evaluated[0]), str(tmp_path), *out], "holds no finished evaluation"),
        (["study", "--votes", str(votes), *out], "give --key"),
        (["study", str(evaluated[0]), str(evaluated[2]), "--out", str(tmp_path / "study0")], "is there already"),
    ):
        assert execute(words) == 1
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
    (evaluated[2] / "pictures/3.png").unlink()
    assert execute(["study", str(evaluated[0]), str(evaluated[2]), *out]) == 1
    assert "pictures/3.png" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_two_runs_of_one_method_are_told_apart_by_their_folders(evaluated, tmp_path, capsys):
    folders = [shutil.copytree(evaluated[0], tmp_path / run / "evaluation/neat") for run in ("one", "two")]
    assert execute(["study", *map(str, folders), "--out", str(tmp_path / "s")]) == 0
    key = json.loads((tmp_path / "s/key/key.json").read_text())
    assert key["methods"] == ["one/evaluation/neat", "two/evaluation/neat"]
    table = folders[1] / "evaluation.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    assert execute(["study", *map(str, folders), "--out", str(tmp_path / "t")]) == 1
    assert f"{table} has other pairs than {folders[0]}/evaluation.csv: run both" in capsys.readouterr().err
