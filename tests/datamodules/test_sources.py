from pathlib import Path

import pytest
from PIL import Image

from datamodules.sources import FewPaintings, ImageFolder, ProceduralArt, WikiArt
from lightning_modules.errors import ImpastoError


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name)
    return root


def test_folder_holds_a_fixed_share_out(tmp_path):
    _touch(tmp_path, *(f"{number:02d}.png" for number in range(20)))
    source = ImageFolder(tmp_path, holdout=0.2)
    train, val = source.contents("train"), source.contents("val")
    assert (len(train), len(val)) == (16, 4)
    assert not set(train) & set(val)
    assert source.contents("test") == val
    assert train == sorted(train)


def test_folder_with_its_own_validation_holds_nothing_out(tmp_path):
    _touch(tmp_path, "train/a.png", "train/b.jpg", "val/c.png")
    source = ImageFolder(tmp_path / "train", val_root=tmp_path / "val")
    assert [item.title for item in source.contents("train")] == ["a", "b"]
    assert [item.title for item in source.contents("val")] == ["c"]
    assert [item.title for item in source.contents("test")] == ["c"]


def test_a_single_picture_serves_every_split(tmp_path):
    _touch(tmp_path, "only.png")
    source = ImageFolder(tmp_path)
    assert source.contents("train") == source.contents("val") != []


def test_holdout_does_not_move_with_the_folder(tmp_path):
    names = [f"{number:02d}.png" for number in range(30)]
    here = ImageFolder(_touch(tmp_path / "here" / "photos", *names), holdout=0.2)
    there = ImageFolder(_touch(tmp_path / "there" / "photos", *names), holdout=0.2)
    assert [item.title for item in here.contents("val")] == [item.title for item in there.contents("val")]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_holdout_must_be_a_share(tmp_path, share):
    with pytest.raises(ImpastoError, match="holdout"):
        ImageFolder(tmp_path, holdout=share)


@pytest.fixture
def museum(tmp_path):
    _touch(tmp_path, *(f"vincent-van-gogh/{title}.jpg" for title in "abcd"), "Ada_Stipple/dots.png", "loose.png")
    (tmp_path / "classes.csv").write_text("file,artist\n")
    (tmp_path / "vincent-van-gogh" / "notes.txt").write_text("sunflowers")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_wikiart_reads_artists_from_folders(museum):
    source = WikiArt(museum, holdout=0)
    assert [(work.artist, work.title) for work in source.paintings("train")] == [
        ("Ada Stipple", "dots"),
        *(("vincent van gogh", title) for title in "abcd"),
    ]


def test_wikiart_holds_out_per_artist(museum):
    source = WikiArt(museum, min_paintings=2, holdout=0.25)
    train, val = source.paintings("train"), source.paintings("val")
    assert (len(train), len(val)) == (3, 1)
    assert {work.artist for work in train + val} == {"vincent van gogh"}


@pytest.mark.parametrize("name", ["vincent-van-gogh", "Vincent van Gogh"])
def test_wikiart_chooses_artists_by_name_or_folder(museum, name):
    assert {work.artist for work in WikiArt(museum, artists=[name]).paintings("train")} == {"vincent van gogh"}


def test_wikiart_names_what_is_missing(museum, tmp_path):
    with pytest.raises(ImpastoError, match="claude monet"):
        WikiArt(museum, artists=["claude monet"]).paintings("train")
    with pytest.raises(ImpastoError, match="min_paintings"):
        WikiArt(museum, min_paintings=99).paintings("train")
    with pytest.raises(ImpastoError, match="<artist>/<title>"):
        WikiArt(museum / "empty").paintings("train")
    with pytest.raises(ImpastoError, match="does not exist"):
        WikiArt(tmp_path / "nowhere").paintings("train")


def test_procedural_art_generates_and_lists(tmp_path, monkeypatch):
    calls = []

    def generate(root, **options):
        calls.append(options)
        return _touch(root, "val/contents/v0.png", "val/paintings/Ada Stipple/v0.png")

    monkeypatch.setattr("datamodules.procedural.generate", generate, raising=False)
    source = ProceduralArt(tmp_path / "art", size=64, contents_per_split={"train": 1, "val": 1, "test": 1}, seed=3)
    source.prepare()
    assert calls == [{"size": 64, "contents_per_split": {"train": 1, "val": 1, "test": 1}, "seed": 3}]
    assert [item.title for item in source.contents("val")] == ["v0"]
    assert [(work.artist, work.title) for work in source.paintings("val")] == [("Ada Stipple", "v0")]


def test_few_paintings_thin_out_the_training_split_only(museum):
    source = WikiArt(museum, holdout=0.3)
    few = FewPaintings(source, {"vincent van gogh": 1})
    vincent = [work for work in source.paintings("train") if work.artist == "vincent van gogh"]
    others = [work for work in source.paintings("train") if work.artist != "vincent van gogh"]
    assert len(vincent) > 1
    assert few.paintings("train") == [*others, vincent[0]]  # sorted by artist
    assert few.paintings("val") == source.paintings("val")


@pytest.mark.parametrize(("keep", "message"), [({"Nobody": 3}, "Nobody"), ({"Ada Stipple": 0}, "at least one")])
def test_few_paintings_refuse_what_makes_no_sense(museum, keep, message):
    with pytest.raises(ImpastoError, match=message):
        FewPaintings(WikiArt(museum), keep).paintings("train")
