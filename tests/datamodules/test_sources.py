import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from datamodules.notes import note
from datamodules.samples import evaluation_pairs
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


# ---------------------------------------------------------------------- names and links


def test_validation_pictures_are_never_trained_on(tmp_path):
    _touch(tmp_path, *(f"all/{name}.png" for name in "abcd"), "all/val/e.png", "all/test/f.png")
    (tmp_path / "all/val/a.png").symlink_to("../a.png")
    (tmp_path / "all/again").symlink_to(".", target_is_directory=True)
    source = ImageFolder(tmp_path / "all", val_root=tmp_path / "all/val", test_root=tmp_path / "all/test")
    titles = {split: [item.title for item in source.contents(split)] for split in ("train", "val", "test")}
    assert titles == {"train": ["b", "c", "d"], "val": ["a", "e"], "test": ["f"]}
    same = ImageFolder(tmp_path / "all/val", val_root=tmp_path / "all/val")
    assert same.contents("train") == same.contents("val")


def test_a_link_to_the_folder_above_lets_no_picture_into_both_splits(tmp_path):
    _touch(tmp_path, *(f"in/p/{number}.jpg" for number in range(5)))
    (tmp_path / "in/p/up").symlink_to("..", target_is_directory=True)
    source = ImageFolder(tmp_path / "in", holdout=0.4)
    train, val = ({item.path.resolve() for item in source.contents(split)} for split in ("train", "val"))
    assert (len(train), len(val), len(train & val)) == (3, 2, 0)


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_an_artist_is_found_however_accents_are_spelt(tmp_path, written, asked):
    folder = unicodedata.normalize(written, "paul-cézanne")
    _touch(tmp_path, *(f"{folder}/{unicodedata.normalize(written, 'é')}{number}.jpg" for number in range(3)))
    name = unicodedata.normalize(asked, "Paul Cézanne")
    found = WikiArt(tmp_path, artists=[name], holdout=0).paintings("train")
    assert {work.artist for work in found} == {unicodedata.normalize("NFC", "paul cézanne")}
    assert [work.title for work in found] == [unicodedata.normalize("NFC", f"é{number}") for number in range(3)]
    assert len(FewPaintings(WikiArt(tmp_path, holdout=0), {name: 1}).paintings("train")) == 1


def test_the_split_does_not_depend_on_how_accents_are_spelt(tmp_path):
    held_out = []
    for form in ("NFC", "NFD"):
        names = [unicodedata.normalize(form, f"photos/é{number}.png") for number in range(30)]
        source = ImageFolder(_touch(tmp_path / form, *names), holdout=0.2)
        held_out.append([item.title for item in source.contents("val")])
    assert held_out[0] == held_out[1]


def test_truth_is_found_however_accents_are_spelt(tmp_path):
    _touch(tmp_path, "c/é.png", f"p/a/{unicodedata.normalize('NFD', 'é')}.png", "p/a/x.png")
    contents, paintings = (
        ImageFolder(tmp_path / "c").contents("val"),
        WikiArt(tmp_path / "p", holdout=0).paintings("val"),
    )
    (pair,) = evaluation_pairs(contents, paintings, [], ["a"])
    assert (pair.truth.parent.name, pair.style.stem) == ("a", "x")


def test_names_that_are_no_text_are_listed_and_split(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    _touch(tmp_path, f"in/{name}.jpg", "in/b.jpg", f"art/{name}/a.jpg", f"art/{name}/b.jpg")
    source = ImageFolder(tmp_path / "in", holdout=0.5)
    assert {item.path.stem for split in ("train", "val") for item in source.contents(split)} == {name, "b"}
    paintings = WikiArt(tmp_path / "art").paintings("train")
    assert [work.artist for work in paintings] == ["caf\\xe9"]  # a prompt has to be text


@pytest.mark.parametrize(("claudes", "name"), [(3, "Claude Monet"), (1, "claude monet")])
def test_artists_that_differ_in_letter_case_are_one(tmp_path, caplog, claudes, name):
    note.cache_clear()
    _touch(tmp_path, *(f"Claude-Monet/{number}.jpg" for number in range(claudes)), "claude_monet/8.jpg", "b/1.jpg")
    _touch(tmp_path, "claude_monet/9.jpg")
    for _ in range(2):
        works = WikiArt(tmp_path, artists=["CLAUDE MONET"], holdout=0).paintings("train")
    assert {work.artist for work in works} == {name}
    assert len(works) == claudes + 2
    assert [message for message in caplog.messages if "letter case" in message] == [
        f"{tmp_path}: Claude Monet and claude monet differ in letter case alone and are taken for one artist."
    ]
    assert len(FewPaintings(WikiArt(tmp_path, holdout=0), {"Claude monet": 1}).paintings("train")) == 2


def test_an_artist_whose_folder_is_a_link_is_no_second_one(tmp_path, caplog):
    note.cache_clear()
    _touch(tmp_path, "claude-monet/1.jpg", "b/1.jpg", "loose.jpg", "b/deep/2.jpg")
    (tmp_path / "a-monet").symlink_to("claude-monet", target_is_directory=True)
    assert {work.artist for work in WikiArt(tmp_path, holdout=0).paintings("train")} == {"claude monet", "b"}
    assert f"{tmp_path}: left out 2 not in an artist's folder (2 .jpg)." in caplog.messages
