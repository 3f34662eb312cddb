import csv
import hashlib
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from datamodules.sources import ImageFolder
from experiments.cli import execute
from experiments.public_data import disk

CAPTIONS = {
    "licenses": [{"id": 1, "name": "Attribution License"}],
    "images": [{"id": 7, "license": 1}, {"id": 8, "license": 9}],
    "annotations": [],
}


def write_picture(path, number, side=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=95)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as COCO's archives unpack to: of val2017 one picture is one of train2017 again, and one is broken."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "public"
    for number in range(4):
        write_picture(root / "train2017" / f"{number:012d}.jpg", number)
    write_picture(root / "val2017" / "000000000010.jpg", 2, side=48)
    write_picture(root / "val2017" / "000000000011.jpg", 11)
    broken = root / "val2017" / "000000000012.jpg"
    broken.write_bytes((root / "train2017" / "000000000000.jpg").read_bytes()[:400])
    (root / "annotations").mkdir()
    (root / "annotations" / "captions_val2017.json").write_text(json.dumps(CAPTIONS))
    (root / "annotations" / "instances_val2017.json").write_text("{}")
    return root


def zipped(folder):
    """Return the three archives that COCO's server has, as bytes by their paths."""
    found = {}
    for name, place in (("train2017", "zips/train2017"), ("val2017", "zips/val2017"), ("annotations", ANNOTATIONS)):
        path = folder.parent / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((folder / name).iterdir()):
                archive.write(file, f"{name}/{file.name}")
            archive.writestr("../../evil.jpg", b"x")
        found[f"/{place}.zip"] = path.read_bytes()
        path.unlink()
    return found


ANNOTATIONS = "annotations/annotations_trainval2017"


def prepare(source, *more):
    return execute(["prepare", "coco", "--source", str(source), "--out", "coco", "--workers", "1", *more])


def check(tmp_path):
    out = tmp_path / "coco"
    contents = ImageFolder(out / "train2017", val_root=out / "val2017")
    assert [content.title for content in contents.contents("train")] == [f"{number:012d}" for number in range(4)]
    assert len(contents.contents("val")) == 3
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"] == {
        "pictures": 6, "repeated_pictures": 0, "failed": 1, "splits": {"train": 4, "val": 2},
    }  # fmt: skip
    assert manifest["failures"] == {"val2017/000000000012.jpg": "cut off"}
    assert manifest["near_duplicates"]["found"] == 1
    assert manifest["licences"] == {"Attribution License": 1, "not given": 1}
    twins = (out / "near_duplicates.csv").read_text().splitlines()
    assert twins[1].startswith("val2017/000000000010.jpg,val,train2017/000000000002.jpg,train,")
    with (out / "pictures.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    first = "train2017/000000000000.jpg"
    assert rows[first]["sha256"] == hashlib.sha256((out / first).read_bytes()).hexdigest()
    assert (rows[first]["split"], rows[first]["width"]) == ("train", "32")
    assert rows["val2017/000000000012.jpg"]["failure"] == "cut off"
    assert sorted(path.name for path in (out / "annotations").iterdir()) == ["captions_val2017.json"]
    assert not (tmp_path / ".coco.preparing").exists()
    assert not (out / "downloads").exists()


def test_a_folder_is_linked_and_described(folder, tmp_path, capsys):
    assert prepare(folder, "--workers", "2") == 0
    assert capsys.readouterr().out.strip() == "coco"
    check(tmp_path)
    name = "train2017/000000000001.jpg"
    assert (folder / name).samefile(tmp_path / "coco" / name)
    before = (tmp_path / "coco" / "manifest.json").stat().st_mtime_ns
    assert prepare(folder) == 0
    assert (tmp_path / "coco" / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("link", ["soft", "copy"])
def test_other_ways_to_take_files(folder, tmp_path, link):
    assert prepare(folder, "--link", link, "--no-annotations", "--no-near-duplicates") == 0
    path = tmp_path / "coco/train2017/000000000001.jpg"
    assert path.is_symlink() == (link == "soft")
    assert (path.stat().st_ino == (folder / "train2017" / path.name).stat().st_ino) == (link == "soft")
    assert not (tmp_path / "coco/annotations").exists()
    assert "near_duplicates" not in json.loads((tmp_path / "coco/manifest.json").read_text())


@pytest.mark.parametrize("nested", [True, False])
def test_zip_files_of_a_folder(folder, tmp_path, nested):
    for name, data in zipped(folder).items():
        path = tmp_path / "archives" / (name.strip("/") if nested else name.rpartition("/")[2])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert prepare("archives") == 0
    check(tmp_path)
    assert not list(tmp_path.rglob("evil.jpg"))


def test_a_server_and_a_command_that_was_stopped_between(folder, tmp_path, server, monkeypatch):
    server.answers.update(zipped(folder))
    with monkeypatch.context() as patch:
        patch.setattr("experiments.public_data.coco.describe", lambda *_, **__: 1 / 0)
        assert prepare(server.url) == 1
    assert not (tmp_path / "coco").exists()
    (tmp_path / ".coco.preparing" / "train2017" / "000000000000.jpg").write_bytes(b"half")
    asked = len(server.asked)
    assert prepare(f"{server.url}/") == 0
    check(tmp_path)
    assert len(server.asked) == asked  # all of it was there


def test_checksums(folder, tmp_path, server, capsys):
    archives = zipped(folder)
    server.answers.update(archives)
    right = hashlib.md5(archives["/zips/train2017.zip"]).hexdigest()  # noqa: S324
    assert prepare(server.url, "--checksum", "train2017.zip=" + "0" * 32) == 1
    assert f"has the md5 {right}, not {'0' * 32}" in capsys.readouterr().err
    assert prepare(server.url, "--checksum", f"train2017.zip={right}") == 0


def missing(root, server):
    return root / "nowhere"


def empty(root, server):
    (root / "nothing").mkdir()
    return root / "nothing"


def empty_folder(root, server):
    for path in (root / "val2017").iterdir():
        path.unlink()
    return root


def other_zip(root, server):
    archives = zipped(root)
    (root.parent / "zips").mkdir()
    for name in ("train2017", "val2017"):
        (root.parent / "zips" / f"{name}.zip").write_bytes(archives["/zips/train2017.zip"])
    return root.parent / "zips"


def cut_zip(root, server):
    data = zipped(root)["/zips/train2017.zip"]
    server.answers["/zips/train2017.zip"] = data[: len(data) // 2]
    return server.url


def damaged_zip(root, server):
    data = zipped(root)["/zips/train2017.zip"]
    position = data.index(b"JFIF") + 200
    server.answers["/zips/train2017.zip"] = data[:position] + b"????" + data[position + 4 :]
    return server.url


def refusing(root, server):
    server.answers["/zips/train2017.zip"] = lambda handler: handler.send_error(403)
    return server.url


def no_captions(root, server):
    (root / "annotations" / "captions_val2017.json").write_text("[]")
    return root


def other_folder(root, server):
    (root.parent / "coco").mkdir()
    (root.parent / "coco" / "thesis.pdf").touch()
    return root


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing, "nowhere does not exist: check the path"),
        (empty, "nothing holds neither pictures in train2017/ nor train2017.zip"),
        (empty_folder, "public holds neither pictures in val2017/ nor"),
        (other_zip, "val2017.zip holds no val2017/: it is another archive"),
        (cut_zip, "train2017.zip is no whole zip file"),
        (damaged_zip, "train2017.zip is no whole zip file (Bad CRC-32"),
        (refusing, "train2017.zip cannot be fetched (403 Forbidden)"),
        (no_captions, "captions_val2017.json is no file of COCO's captions"),
        (other_folder, "coco holds something other than a prepared data set"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_has_the_final_name(folder, tmp_path, server, capsys, spoil, sentence):
    assert prepare(spoil(folder, server)) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "coco" / "train2017").exists()
    assert not list(tmp_path.glob(".coco.preparing/downloads/*.zip"))


@pytest.mark.parametrize("way", ["copy", "zip"])
def test_a_disk_that_is_too_small(folder, tmp_path, monkeypatch, capsys, way):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    source = folder if way == "copy" else other_zip(folder, None)
    assert prepare(source, "--link", "copy") == 1
    assert "has 1.0 kB left: make room, or choose another place" in capsys.readouterr().err


def test_other_settings_in_the_same_place_are_refused(folder, capsys):
    assert prepare(folder) == 0
    assert prepare(folder, "--no-annotations") == 1
    assert "coco holds a data set of other settings (annotations)" in capsys.readouterr().err
