"""`impasto leaderboard`: from nothing to pages, cut off and gone on, with who fails, and from records alone."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiments.cli import execute
from experiments.leaderboard import runs
from experiments.leaderboard.units import Unit
from experiments.leaderboard.workshop import Workshop
from lightning_modules.errors import ImpastoError

CLAIM = {
    "paper": "Stub",
    "says": "Wide is better",
    "source": "nowhere",
    "better": "wide",
    "than": ["thin"],
    "by": ["ssim"],
}


@pytest.fixture(scope="module")
def protocol(gallery, tmp_path_factory):
    """A frozen protocol of six pairs with two cheap metrics."""
    frozen = tmp_path_factory.mktemp("protocol") / "pairs.yaml"
    folders = ["--content", str(gallery / "content"), "--style", str(gallery / "style")]
    words = ["evaluate", "--protocol", "every", *folders]
    assert execute([*words, "--freeze", str(frozen)]) == 0
    said = yaml.safe_load(frozen.read_text()) | {"metrics": ["ssim", "chamfer"]}
    frozen.write_text(yaml.safe_dump(said))
    return frozen


def name_all(pairs, table, values):
    """Stand for a panel that names painters beginning with a, and no others."""
    artists = [line.partition(",")[2] for line in pairs.read_text().splitlines()]
    assert artists[0] == "artist"
    hits = [float(name.startswith("a")) for name in artists[1:]]
    table.write_text(json.dumps({"panel_named": {"value": np.mean(hits), "better": "higher", "convention": "by stub"}}))
    values.write_text("\n".join(["stylized,panel_named", *(f"x,{hit}" for hit in hits)]) + "\n")


@pytest.fixture
def ran(monkeypatch):
    """Run commands in this process, and list them."""
    words_of_all = []

    def run(self, words, log):
        words_of_all.append(list(words))
        if words[0] == "score":
            name_all(*(Path(words[words.index(option) + 1]) for option in ("--pairs", "--out", "--per-image")))
        elif execute([*words]):
            raise ImpastoError(f"{words[0]} failed")

    monkeypatch.setattr(Workshop, "run", run)
    return words_of_all


@pytest.fixture
def board(stub_yaml, protocol, ran, capsys):
    """Return a function from options of the command to its status, in a folder with two stubs on the list."""
    wide = stub_yaml.with_name("wide.yaml")
    wide.write_text(yaml.safe_dump({"model": {"init_args": {"width": 8}}}))
    rows = {"thin": [str(stub_yaml)], "wide": [str(stub_yaml), str(wide)]}
    entries = {
        key: {"name": f"The {key}", "method": "stub_method", "section": "pairs", "configs": configs}
        for key, configs in rows.items()
    }
    sections = {"pairs": {"title": "Pairs", "protocol": str(protocol), "shown": ["ssim"]}}
    said = {"seeds": [0, 1], "sections": sections, "entries": entries, "claims": [CLAIM]}
    path = stub_yaml.with_name("entries.yaml")

    def call(*options, **changes):
        path.write_text(yaml.safe_dump(said | {k: said[k] | v for k, v in changes.items()}))
        runs._asked.cache_clear()  # as every command has a process of its own
        ran.clear()
        capsys.readouterr()
        return execute(["leaderboard", "--entries", str(path), "--out", "board", "--device", "cpu", *options])

    return call


def records():
    return sorted(path.name for path in Path("board").glob("*.json"))


def asked(ran):
    """Return the commands without their folders: what each is, and its seed or its run."""
    return [(words[0], "--ckpt_path" in words) for words in ran]


def test_from_nothing_to_pages_and_then_nothing_is_left_to_do(board, ran, capsys):
    assert board() == 0
    assert records() == ["thin-0.json", "thin-1.json", "wide-0.json", "wide-1.json"]
    assert asked(ran) == [("fit", False), ("evaluate", False)] * 4
    assert capsys.readouterr().out.splitlines()[-2:] == ["board.md", "board/index.html"]
    record = json.loads(Path("board/wide-1.json").read_text())
    assert (record["entry"], record["seed"], record["method"]) == ("wide", 1, "stub_method")
    assert record["training"]["iterations"] == 6
    assert "--seed_everything 1" in record["training"]["command"]
    assert record["evaluation"]["protocol"]["n"] == len(record["pairs"]["ssim"]) == 6
    assert np.mean(record["pairs"]["ssim"]) == pytest.approx(record["metrics"]["ssim"]["mean"], rel=1e-4)
    assert record["pairs"]["style"] == [0, 1, 2, 0, 1, 2]
    assert record["metrics"]["ssim"]["low"] < record["metrics"]["ssim"]["high"]
    assert str(Path.cwd() / "runs") not in Path("board/wide-1.json").read_text()

    assert board() == 0
    assert not ran
    before = Path("board/wide-1.json").read_text()
    assert board("--again", "--only", "wide") == 0
    assert not ran  # runs and evaluations are still there
    assert Path("board/wide-1.json").read_text() == before

    shutil.rmtree("runs")
    Path("board.md").write_text(Path("board.md").read_text() + "\nMy own words.\n")
    page = Path("board/index.html").read_text()
    assert board("--render") == 0
    assert not ran
    assert Path("board/index.html").read_text() == page
    words = Path("board.md").read_text()
    assert words.endswith("\nMy own words.\n")
    assert "4 of 4 measurements" in words
    assert re.search(r"\| \*\*The wide\*\* \| paper \| 2 \| .*\d", words)
    summary = re.search(r"\| Stub \| Wide is better \(nowhere\) \| The thin \| (.*) \|", words)
    line = re.search(r"\| Stub: Wide is better \| The thin \| ssim \| \S+ \(\S+ to \S+\) \| (.*) \|", words)
    assert summary[1] == line[1]
    assert page.count("data:image/jpeg") == 2 * (2 + 2)  # two pairs: what was given, and what both painted
    assert "Wide is better" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)|url\(|@import', page)


def test_a_run_that_was_cut_off_goes_on_and_a_finished_one_of_any_name_is_taken(board, ran, capsys, stub_yaml):
    assert board("--only", "thin") == 0
    Path("runs/stub_method/leaderboard-tiny-1/summary.json").unlink()  # as kill -9 leaves it
    shutil.rmtree("board")
    words = ["fit", "--config", str(stub_yaml), "--config", str(stub_yaml.with_name("wide.yaml"))]
    for seed, name in ((1, "by-hand"), (0, "at-work")):
        assert execute([*words, "--seed_everything", str(seed), "--run_name", name]) == 0
    Path("runs/stub_method/at-work/summary.json").unlink()  # perhaps another process still writes there
    assert board("--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "thin-0: to be measured, trained in runs/stub_method/leaderboard-tiny-0",
        "wide-0: to be trained",
        "thin-1: to be continued in runs/stub_method/leaderboard-tiny-1",
        "wide-1: to be measured, trained in runs/stub_method/by-hand",
    ]
    assert board() == 0
    assert asked(ran) == [("fit", False), ("evaluate", False), ("fit", True), ("evaluate", False)]
    names = sorted(path.name for path in Path("runs/stub_method").iterdir() if not path.is_symlink())
    assert names == ["at-work", "by-hand", "leaderboard-tiny-0", "leaderboard-tiny-1", "leaderboard-wide-0"]


def test_a_run_with_another_setting_is_not_taken(board, ran, stub_yaml):
    words = ["fit", "--config", str(stub_yaml), "--model.lr", "0.2", "--seed_everything", "0"]
    assert execute([*words, "--run_name", "leaderboard-tiny-0"]) == 0
    assert board("--only", "thin", "--seeds", "0") == 0
    assert asked(ran) == [("fit", False), ("evaluate", False)]
    assert Path("runs/stub_method/leaderboard-tiny-0-2").is_dir()


def test_what_was_measured_with_other_settings_is_measured_anew_and_named_on_the_page(board, ran, capsys, stub_yaml):
    assert board("--seeds", "0") == 0
    assert "Settings have changed" not in Path("board.md").read_text()
    wide = stub_yaml.with_name("wide.yaml")
    wide.write_text(
        "# The same, said otherwise.\nmodel:\n  init_args: {width: 8}\ndata: {init_args: {root: elsewhere}}\n"
    )
    assert board("--seeds", "0", "--dry-run") == 0
    assert capsys.readouterr().out == "thin-0: measured\nwide-0: measured\n"  # a comment and a folder change nothing

    wide.write_text(yaml.safe_dump({"model": {"init_args": {"width": 16}}}))
    assert board("--render") == 0
    assert "Settings have changed since, so that these are not of today's: wide-0." in Path("board.md").read_text()
    assert board("--seeds", "0", "--dry-run") == 0
    assert capsys.readouterr().out == "thin-0: measured\nwide-0: to be trained\n"
    assert board("--seeds", "0") == 0
    assert asked(ran) == [("fit", False), ("evaluate", False)]
    assert "Settings have changed" not in Path("board.md").read_text()

    wide.unlink()
    assert board("--render") == 1
    assert "wide.yaml of the leaderboard's wide is missing" in capsys.readouterr().err


def test_a_run_that_ended_early_is_not_finished(board, capsys):
    assert board("--only", "thin", "--seeds", "0") == 0
    path = Path("runs/stub_method/leaderboard-tiny-0/summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"iterations": 5}))
    Path("board/thin-0.json").unlink()
    assert board("--only", "thin", "--seeds", "0", "--dry-run") == 0
    assert capsys.readouterr().out == "thin-0: to be continued in runs/stub_method/leaderboard-tiny-0\n"


def test_who_fails_is_named_and_the_others_go_on(board, capsys):
    broken = {"name": "Broken", "method": "stub_method", "section": "pairs", "configs": ["nowhere.yaml"]}
    assert board("--seeds", "0", entries={"broken": broken}) == 1
    assert records() == ["thin-0.json", "wide-0.json"]
    said = capsys.readouterr()
    assert "impasto: broken-0: " in said.err
    assert "nowhere.yaml" in said.err
    assert "2 of 6 measurements. Still missing: 4." in Path("board.md").read_text()
    assert "one seed" in Path("board.md").read_text()


def test_what_paints_untrained_is_measured_alone(board, ran, capsys, stub_yaml):
    shader = stub_yaml.with_name("shader.yaml")
    shader.write_text(
        yaml.safe_dump({"model": {"class_path": "stub_method.Grey"}, "data": {"class_path": "stub_method.StubData"}})
    )
    row = {"name": "Grey", "method": "stub_method", "section": "pairs", "configs": [str(shader)], "trains": False}
    assert board("--only", "grey", entries={"grey": row | {"seeds": [0]}}) == 1
    assert ran[0][:3] == ["evaluate", "--config", str(shader)]
    assert "impasto: grey-0: " in capsys.readouterr().err  # its words are painters' names


def test_another_checkpoint_of_a_row_without_a_run_is_measured_beside_the_first(board, ran, stub_yaml):
    assert execute(["fit", "--config", str(stub_yaml), "--run_name", "a"]) == 0
    file = shutil.copy("runs/stub_method/a/checkpoints/last.ckpt", "fixed.ckpt")
    row = {"name": "Fixed", "method": "stub_method", "section": "pairs", "checkpoint": file, "seeds": [0]}
    asked = ("--only", "fixed", "--again")
    assert board(*asked, entries={"fixed": row}) == 0
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"another file, whose content is the same"
    assert board(*asked, entries={"fixed": row}) == 0
    assert [words[0] for words in ran] == ["evaluate"]
    assert len(list(Path("runs/leaderboard/fixed").iterdir())) == 2


def test_an_error_that_nobody_foresaw_is_of_its_entry_alone(board, capsys, monkeypatch):
    make = Unit.make

    def fail(unit, *arguments):
        if unit.contestant.key == "thin":
            raise ZeroDivisionError("of no foreseen kind")
        return make(unit, *arguments)

    monkeypatch.setattr(Unit, "make", fail)
    assert board("--seeds", "0") == 1
    assert "impasto: thin-0: ZeroDivisionError: of no foreseen kind" in capsys.readouterr().err
    assert records() == ["wide-0.json"]


def test_a_stray_file_that_is_no_text_is_no_run(board):
    assert board("--only", "thin", "--seeds", "0") == 0
    stray = Path("runs/stub_method/stray")
    stray.mkdir()
    for name in ("config.yaml", "summary.json"):
        (stray / name).write_bytes(b"caf\xe9: 1\n")
    assert board("--only", "thin", "--seeds", "1") == 0


def test_two_rows_of_one_run_train_it_once(board, ran, stub_yaml):
    row = {"name": "Thin, by a picture", "method": "stub_method", "section": "pairs", "condition": "image"}
    assert (
        board(
            "--only",
            "thin",
            "twin",
            "--seeds",
            "0",
            "--jobs",
            "2",
            entries={"twin": row | {"configs": [str(stub_yaml)]}},
        )
        == 0
    )
    assert sorted(words[0] for words in ran) == ["evaluate", "evaluate", "fit"]
    assert [words[-4:-2] for words in ran if "--condition" in words] == [["--condition", "image"]]
    assert json.loads(Path("board/twin-0.json").read_text())["evaluation"]["command"].endswith("--condition image")


def test_the_panel_is_asked_once_where_it_is_installed(board, ran, monkeypatch, protocol):
    monkeypatch.setattr("experiments.leaderboard.units.dinov2_installed", lambda: True)
    section = {"title": "Pairs", "protocol": str(protocol), "shown": ["panel_named"], "panel": True}
    for again in (["score"], []):
        assert board("--only", "thin", "--seeds", "0", "--again", "--data", "art", sections={"pairs": section}) == 0
        assert [words[0] for words in ran if words[0] == "score"] == again
    record = json.loads(Path("board/thin-0.json").read_text())
    assert record["pairs"]["panel_named"] == [1, 0, 0, 1, 0, 0]
    assert record["metrics"]["panel_named"]["mean"] == pytest.approx(1 / 3)
    assert "`panel_named` ↑" in Path("board.md").read_text()


def test_records_of_other_pictures_are_not_mixed(board, capsys):
    assert board("--only", "thin", "--seeds", "0") == 0
    path = Path("board/thin-0.json")
    record = json.loads(path.read_text())
    record["evaluation"]["protocol"]["sha256"] = "0" * 64
    path.write_text(json.dumps(record))
    assert board("--only", "wide") == 1
    assert "was measured on the protocol 000000000000" in capsys.readouterr().err


def test_a_page_without_its_marks_and_a_board_without_records_are_said(board, capsys):
    assert board("--render") == 1
    assert "There is no record in board" in capsys.readouterr().err
    assert board("--only", "thin", "--seeds", "0") == 0
    Path("board.md").write_text("all by hand")
    assert board("--render") == 1
    assert "put them back" in capsys.readouterr().err
    assert Path("board.md").read_text() == "all by hand"
    Path("board/thin-0.json").write_text("{")
    assert board("--render") == 1
    assert "thin-0.json is damaged" in capsys.readouterr().err


def test_a_section_without_a_protocol_takes_what_runs_measured_themselves(board, ran, stub_yaml):
    assert execute(["fit", "--config", str(stub_yaml), "--run_name", "a"]) == 0
    run = Path("runs/stub_method/a")
    summary = json.loads((run / "summary.json").read_text())
    summary |= {"metrics": {"val/ssim_content": 0.5, "val/fid": 7.0}, "conventions": {"val/fid": "so"}}
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "per_sample.csv").write_text("index,artist,ssim_content\n0,a,0.25\n1,b,0.5\n2,c,0.75\n3,a,\n")
    own = {"title": "Own", "shown": ["val/ssim_content", "val/fid"]}
    row = {"name": "Own", "method": "stub_method", "section": "own", "configs": [str(stub_yaml)], "seeds": [0]}
    assert board("--only", "own", entries={"own": row}, sections={"own": own}) == 0
    assert not ran
    record = json.loads(Path("board/own-0.json").read_text())
    assert record["evaluation"] is None
    assert record["pairs"] == {"content": [0, 1, 2, 3], "val/ssim_content": [0.25, 0.5, 0.75, None]}
    assert record["metrics"]["val/fid"] == {
        "mean": 7.0, "low": None, "high": None, "better": "lower", "convention": "so"
    }  # fmt: skip
    words = Path("board.md").read_text()
    assert "`ssim_content` ↑ | `fid` ↓" in words
    assert re.search(r"\*\*Own\*\* \| paper \| one seed \| 0.5000 \(0\.\d+ to 0\.\d+\) \| 7.000 \|", words)
