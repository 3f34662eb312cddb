import os
import unicodedata
from pathlib import Path

import pytest

from experiments.scoring.pairs import Pair, pairs_by_name, pairs_from_csv, require
from lightning_modules.errors import ImpastoError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return a function that makes empty files; pairing looks at names only."""
    monkeypatch.chdir(tmp_path)

    def make(**folders):
        for folder, names in folders.items():
            Path(folder).mkdir(exist_ok=True)
            for name in names.split():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return [Path(folder) for folder in ("out", "content", "style")]

    return make


def names(pairs):
    return [(str(pair.content), str(pair.style)) for pair in pairs]


def test_the_same_name_on_all_sides(tree):
    out, content, style = tree(out="b.png a.jpg", content="a.png b.webp c.png", style="a.jpg b.jpg")
    assert names(pairs_by_name(out, content, style)) == [
        ("content/a.png", "style/a.jpg"),
        ("content/b.webp", "style/b.jpg"),
    ]


@pytest.mark.parametrize("joint", ["_", "__"])
def test_content_and_style_in_one_name(tree, joint):
    out, content, style = tree(out=f"3{joint}7.png", content="3.jpg 7.jpg", style="3.jpg 7.jpg")
    assert names(pairs_by_name(out, content, style)) == [("content/3.jpg", "style/7.jpg")]


def test_underscores_inside_names_resolve_where_only_one_split_exists(tree):
    out, content, style = tree(out="a_b_great_wave.png", content="a_b.png a.png", style="great_wave.jpg wave.jpg")
    assert names(pairs_by_name(out, content, style)) == [("content/a_b.png", "style/great_wave.jpg")]


def test_two_underscores_settle_what_one_leaves_open(tree):
    out, content, style = tree(out="a_b_c.png", content="a.png a_b.png", style="b_c.png c.png")
    with pytest.raises(ImpastoError, match=r"out/a_b_c.png could have been made from 2 pairs .* <content>__<style>"):
        pairs_by_name(out, content, style)
    Path("out/a_b_c.png").rename("out/a_b__c.png")
    assert names(pairs_by_name(out, content, style)) == [("content/a_b.png", "style/c.png")]


def test_one_style_goes_with_all(tree):
    out, content, style = tree(out="a.png b_painted.png", content="a.png b.png", style="only.jpg")
    for given in (style, style / "only.jpg"):
        assert names(pairs_by_name(out, content, given)) == [
            ("content/a.png", "style/only.jpg"),
            ("content/b.png", "style/only.jpg"),
        ]


def test_folders_tell_apart_what_has_one_name(tree):
    out, content, _ = tree(out="x/1.png y/1.png", content="x/1.jpg y/1.jpg", style="s.png")
    assert names(pairs_by_name(out, content, None)) == [("content/x/1.jpg", "None"), ("content/y/1.jpg", "None")]


def test_a_name_may_repeat_the_suffix_of_the_content(tree):
    out, content, _ = tree(out="grey.gif.png", content="grey.gif", style="s.png")
    assert names(pairs_by_name(out, content, None)) == [("content/grey.gif", "None")]


def test_folders_are_artists_and_clips(tree):
    out, content, style = tree(
        out="walk/0.png walk/1.png run/0.png", content="walk/0.png walk/1.png run/0.png", style="ada-stipple/s.png"
    )
    pairs = pairs_by_name(out, content, style)
    assert {pair.artist for pair in pairs} == {pair.prompt for pair in pairs} == {"ada stipple"}
    assert [(pair.clip, pair.frame) for pair in pairs] == [("out/run", 0), ("out/walk", 0), ("out/walk", 1)]
    assert {pair.artist for pair in pairs_by_name(out, None, None)} == {"run", "walk"}


def test_without_content_and_style_every_picture_stands_alone(tree):
    out, *_ = tree(out="a.png b.png", content="", style="")
    assert names(pairs_by_name(out, None, None)) == [("None", "None")] * 2


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ({"out": "", "content": "a.png", "style": "a.png"}, "No pictures under out"),
        ({"out": "a.png", "content": "", "style": "a.png"}, "No pictures under content"),
        ({"out": "a.png", "content": "a.png", "style": ""}, "No pictures under style"),
        ({"out": "a.png b.png c.png", "content": "a.png", "style": "a.png d.png"}, "2 of 3 stylised pictures have no"),
        ({"out": "a.png", "content": "a.png a.jpg", "style": "s.png"}, "2 pairs of content and style"),
    ],
)
def test_folders_that_do_not_fit_are_one_sentence(tree, folders, words):
    with pytest.raises(ImpastoError, match=words):
        pairs_by_name(*tree(**folders))


def test_a_file_says_what_belongs_together(tree):
    out, content, style = tree(out="1.png 2.png", content="a.png", style="s.png t.png")
    Path("pairs.csv").write_text(
        "stylized,content,style,artist,prompt,clip,frame\n1.png,a.png,s.png,Ada,in dots,walk,7\n2.png,a.png,t.png,,,,\n"
    )
    first, second = pairs_from_csv(Path("pairs.csv"), out, content, style)
    assert first == Pair(out / "1.png", content / "a.png", style / "s.png", "Ada", "in dots", "walk", 7)
    assert second == Pair(out / "2.png", content / "a.png", style / "t.png", None, None, "out", 0)


def test_a_file_may_name_files_elsewhere(tree, tmp_path):
    out, *_ = tree(out="1.png", content="a.png", style="s.png")
    Path("pairs.csv").write_text(f"stylized,content\n{tmp_path / 'out' / '1.png'},content/a.png\n")
    (pair,) = pairs_from_csv(Path("pairs.csv"), out, None, None)
    assert (pair.stylized, pair.content) == (tmp_path / "out" / "1.png", Path("content/a.png"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("", "columns none: there must be stylized"),
        ("stylised,content\n1.png,a.png\n", "columns stylised, content: there must be stylized"),
        ("stylized,content\n", "hold no row"),
        ("stylized,content\n1.png,b.png\n", r"Line 2 of pairs.csv names the content content/b.png, which is not there"),
        ("stylized,content\n,a.png\n", "Line 2 of pairs.csv names no stylised picture"),
        ("stylized,frame\n1.png,first\n", "has the frame 'first', which is no number"),
    ],
)
def test_a_bad_file_is_one_sentence(tree, text, words):
    folders = tree(out="1.png", content="a.png", style="s.png")
    if text is not None:
        Path("pairs.csv").write_text(text)
    with pytest.raises(ImpastoError, match=words):
        pairs_from_csv(Path("pairs.csv"), *folders)


def test_what_a_metric_needs_must_be_there():
    pairs = [Pair(Path("a.png"), artist="Ada"), Pair(Path("b.png"))]
    require(pairs[:1], "artist", "deception")
    with pytest.raises(ImpastoError, match="deception needs the artist of every picture, and 1 of 2 have none"):
        require(pairs, "artist", "deception")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_meet_however_accents_are_spelt(tree, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    painted, photo, style = (unicodedata.normalize(kind, "é") for kind in (form, other, form))
    folders = tree(out=f"{painted}_s{style}.png", content=f"{photo}.jpg x.jpg", style=f"s{style}.jpg y.jpg")
    wanted = [(f"content/{photo}.jpg", f"style/s{style}.jpg")]
    assert names(pairs_by_name(*folders)) == wanted
    Path("pairs.csv").write_text(f"stylized,content\n{photo}_s{photo}.png,{painted}.jpg\n", encoding="utf-8")
    (pair,) = pairs_from_csv(Path("pairs.csv"), *folders)
    assert (pair.stylized.is_file(), pair.content) == (True, Path(wanted[0][0]))


def test_links_are_further_names_and_no_further_pictures(tree):
    out, content, style = tree(out="a.png b.png", content="a.jpg", style="s.jpg")
    Path("content/b.jpg").symlink_to("a.jpg")
    Path("content/up").symlink_to(".", target_is_directory=True)
    Path("style/also").symlink_to(".", target_is_directory=True)
    Path("style/t.jpg").symlink_to("s.jpg")
    Path("out/up").symlink_to("../out", target_is_directory=True)
    found = names(pairs_by_name(out, content, style))
    assert found == [("content/a.jpg", "style/s.jpg"), ("content/b.jpg", "style/s.jpg")]


def test_names_that_are_no_text_are_pairs_too(tree):
    name = os.fsdecode(b"caf\xe9")
    folders = tree(out=f"{name}.png", content=f"{name}.jpg", style="s.jpg")
    assert names(pairs_by_name(*folders)) == [(f"content/{name}.jpg", "style/s.jpg")]
