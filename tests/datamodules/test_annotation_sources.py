"""Sources of annotated pictures: nobody is on two sides of a split, and mistakes in a table have a line number."""

import pytest
from PIL import Image

from datamodules.annotation_sources import AnnotatedFolders, AnnotationTable, GroupSplit, PaintingsAndContents
from datamodules.sources import Content, ContentSource, Painting, StyleSource
from lightning_modules.errors import ImpastoError

SPLITS = ("train", "val", "test")


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


@pytest.fixture
def folders(tmp_path):
    for number in range(6):
        for title in "ab":
            picture(tmp_path / "stylistic" / f"painter {number}" / f"{title}.png")
        picture(tmp_path / "plain" / f"photo {number}.png")
    return tmp_path


def test_folders_give_every_picture_to_one_split_and_every_painter_whole(folders):
    source = AnnotatedFolders(folders, holdout=0.2)
    found = {split: source.annotations(split) for split in SPLITS}
    assert sorted(each.path for part in found.values() for each in part) == sorted(folders.rglob("*.png"))
    groups = [{each.group for each in found[split]} for split in SPLITS]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    for part in found.values():
        assert {each.stylistic for each in part} == {True, False}
        assert all(each.stylistic == ("stylistic" in each.path.parts) for each in part)


def test_a_group_with_both_kinds_stays_on_one_side(folders):
    for number in range(6):
        picture(folders / "plain" / f"painter {number}" / "sketch.png")
    source = AnnotatedFolders(folders, holdout=0.2)
    train, test = ({each.group for each in source.annotations(split)} for split in ("train", "test"))
    assert not train & test


def test_folds_hold_out_everybody_once(folders):
    names = [f"painter {number}" for number in range(8)]
    held = [GroupSplit(0.25, fold).groups(names) for fold in range(4)]
    assert sorted(name for groups in held for name in groups["test"]) == names
    assert all(len(groups["train"]) == 4 and len(groups["val"]) == 2 for groups in held)
    assert all(not groups["val"] & groups["test"] for groups in held)


def test_a_missing_folder_and_too_few_groups_are_named(tmp_path):
    picture(tmp_path / "stylistic" / "a.png")
    with pytest.raises(ImpastoError, match=r"no folder .*plain"):
        AnnotatedFolders(tmp_path).annotations("train")
    picture(tmp_path / "plain" / "b.png")
    with pytest.raises(ImpastoError, match="1 groups of one kind"):
        AnnotatedFolders(tmp_path).annotations("train")
    with pytest.raises(ImpastoError, match=r"holdout is 0\.5"):
        AnnotatedFolders(tmp_path, holdout=0.5)


def table(folder, text):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_reads_labels_groups_and_paths(folders, caplog):
    lines = [f"stylistic/painter {n}/a.png,Stylistic,p{n}\nplain/photo {n}.png,0,\n" for n in range(4)]
    source = AnnotationTable(table(folders, "path,label,group\n" + "".join(lines) + "stylistic/painter 5/b.png,,\n"))
    found = [each for split in SPLITS for each in source.annotations(split)]
    assert len(found) == 8
    assert {each.group for each in found if each.stylistic} == {"p0", "p1", "p2", "p3"}
    assert "1 of 9 lines, which have no label" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\n", "columns file, label"),
        ("path,label\nnowhere.png,plain\n", "Line 2 .* which is not there"),
        ("path,label\nplain/photo 0.png,art\n", "Line 2 .* label 'art'"),
        ("path,label\n,plain\n", "Line 2"),
    ],
)
def test_what_is_wrong_with_a_table(folders, text, said):
    with pytest.raises(ImpastoError, match=said):
        AnnotationTable(table(folders, text)).annotations("train")


def test_a_table_that_cannot_be_read(tmp_path):
    with pytest.raises(ImpastoError, match="cannot be read"):
        AnnotationTable(tmp_path / "none.csv").annotations("train")


class Painters(StyleSource):
    def paintings(self, split):
        return [Painting(f"{split}/{name}", name, "x") for name in "abcdefgh"]


class Photographs(ContentSource):
    def contents(self, split):
        return [Content(f"{split}/photo", "x")]


def test_held_out_painters_and_what_they_show_are_new():
    source = PaintingsAndContents(Painters(), Photographs(), holdout=0.25)
    seen = set()
    for split in SPLITS:
        found = source.annotations(split)
        painters = {each.group for each in found if each.stylistic}
        assert not painters & seen
        seen |= painters
        assert all(str(each.path).startswith(split) for each in found)
        assert sum(not each.stylistic for each in found) == 1
    assert seen == set("abcdefgh")
